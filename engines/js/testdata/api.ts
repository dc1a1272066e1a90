// Uses all that bulkhead.d.ts declares, for tsc to check and for the engine to run.
interface State {
  name?: string;
  lines: number;
}

const raw: Handler<State> = {
  data(c, b) { return b.length > 3 ? 3 : undefined; },
};

const framed: Handler<State> = {
  frame(c, b) { c.send(b.subarray(1)); },
  frameLength: { bytes: 2, little: true, whole: true },
  frameLimit: 100,
};

function equals(what: string, got: unknown, want: unknown): void {
  if (got !== want) throw new Error(`${what} is ${got}, want ${want}`);
}

async function check(c: Connection<State>): Promise<void> {
  const b: Uint8Array = concat("a", bytes("b"), new Uint8Array([99]), new Uint8Array([100]).buffer);
  const s: string = text(b);
  equals("text", s, "abcd");
  equals("base64", text(base64.decode(base64.encode(b))), s);
  equals("hex", text(hex.decode(hex.encode(s))), s);
  const sums: number[] = [crc.x25(b), crc.modbus(b), crc.xmodem(b), crc.ccitt(b), crc.crc32(b)];
  equals("checksums", sums.length, 5);
  for (const name of ["md5", "sha1", "sha256", "sha512"] as const) {
    const whole: Uint8Array = hash[name](b);
    equals(name, equal(whole, new Hash(name).update("a").update("bcd").digest()), true);
    equals(`hmac ${name}`, hmac[name]("key", b).length, whole.length);
  }
  const packed: Uint8Array = pack("<HB2sxQ", 7, 8, "xy", 9n);
  const [seven, eight, xy, nine] = unpack("<HB2sxQ", packed, 0);
  equals("unpack", seven + eight + text(xy) + nine, "15xy9");
  equals("random bytes", randomBytes(4).length, 4);
  const id: number = setTimeout((n: number) => log(n), 60_000, 1);
  clearTimeout(id);
  await sleep(1);
  log.debug("a", 1); log.info(c.peer); log.warn(null); log.error({}); log.log(s); console.log(s, config.list);
  count("lines"); count("lines", 2);
  try {
    const up: Connection<State> = await dial<State>("tcp://192.0.2.1:1", { line(up, s) { up.lines = s.length; } });
    up.splice(c);
  } catch (e) {
    const code: Code = (e as CodeError).code;
    equals("dial", code, "DENIED");
  }
  const facts: string = c.peer + c.local + c.listener + c.tenant + c.transport + c.serverName + c.alpn +
    c.tlsVersion + c.cipher + c.clientSubject + c.clientNames + c.clientFingerprint + c.certificate +
    c.target + c.origin + c.subprotocol;
  const kind: "text" | "binary" | "" = c.messageType;
  equals("kind", kind, "");
  equals("facts", facts.includes("tcp"), true);
  const waiting: number = c.waiting;
  equals("waiting", waiting, 0);
  c.pause();
  c.resume();
  c.timer(1, 60_000);
  c.timer(1, -1);
  const before: Handler<State> = c.handler;
  c.handler = raw;
  c.handler = framed;
  c.handler = before;
  try {
    c.secure("server");
  } catch (e) {
    equals("secure", (e as CodeError).code, "DENIED");
  }
}

// What is wrong is wrong for tsc, too. Nobody calls it.
function wrong(c: Connection<State>): void {
  // @ts-expect-error
  c.send(7);
  // @ts-expect-error
  c.sned("x");
  // @ts-expect-error
  c.peer = "x";
  // @ts-expect-error
  c.secure("client");
  // @ts-expect-error
  const misspelt: Handler = { onLine() {} };
  // @ts-expect-error
  new Hash("sha3");
  // @ts-expect-error
  document.title = "x";
}

export default {
  start(config) { void config.list; },
  open(c) { c.lines = 0; return wrong !== undefined; },
  async line(c, text) {
    c.name = text;
    c.lines++;
    await check(c);
    const taken: boolean = c.send("ok\n");
    c.end();
    if (!taken) c.abort();
  },
  eof(c) { c.close(); },
  writable(c) { c.resume(); },
  secured(c, result) { log(result === "TLS"); },
  timer(c, token) { log(token + 1); },
  closed(c, reason) { log(c.name, reason); },
  stop() { log("stop"); },
  lineLimit: 100,
  lineBytes: false,
  queueLimit: 1000,
} satisfies Handler<State>;
