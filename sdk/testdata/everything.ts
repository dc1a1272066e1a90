// A handler that has something for each function of the library: what a line says, it does.
import {
  Code, codeName, configText, Conn, connect, count, encode, Fixed, Framing, Handler, Instance, Lines,
  log, LOG_INFO, LOG_WARN, monotonic, now, Prefixed, random, serve, setTimer, Until,
} from "../bulkhead";
export * from "../bulkhead/exports";

/** What was dialled for a client. */
class Upstream extends Handler {
  constructor(private client: Conn, private relay: bool) {
    super();
  }

  open(c: Conn): void {
    this.client.writeText(`up, from ${c.local == ""}\n`);
    if (this.relay) this.join(c);
  }

  /** Relays, as soon as what was written to the client is sent. */
  join(c: Conn): void {
    const result = c.splice(this.client);
    if (result < 0 && result != Code.AGAIN) c.abort(); // with AGAIN, writable is called
  }

  data(c: Conn, bytes: Uint8Array): i32 {
    this.client.write(bytes);
    return bytes.length;
  }

  secured(c: Conn, status: i32): void {
    this.client.writeText(`secured ${codeName(status)}\n`);
  }

  eof(c: Conn): void {
    c.writeText("over after 0\n");
    c.close();
  }

  closed(c: Conn, reason: i32): void {
    this.client.writeText(`upstream ${codeName(reason)}\n`);
  }
}

/** How messages are cut that have a name. */
function framing(name: string): Framing {
  if (name == "u8") return new Prefixed(1, 100);
  if (name == "u16be") return new Prefixed(2, 100);
  if (name == "u16le") return new Prefixed(2, 100, true);
  if (name == "u32be") return new Prefixed(4, 100);
  if (name == "u32le") return new Prefixed(4, 100, true);
  if (name == "fixed5") return new Fixed(5);
  if (name == "until--") return new Until(encode("--"), 100);
  return new Lines(100);
}

class Everything extends Handler {
  private lines: i32 = 0;
  private upstream: Conn | null = null;
  private relay: Upstream | null = null;
  private framed: bool = false;

  constructor() {
    super();
    this.framing = new Lines(100);
  }

  open(c: Conn): void {
    c.writeText("hello\n");
  }

  line(c: Conn, text: string): void {
    if (this.framed) {
      if (text == "lines") {
        this.framed = false;
        this.framing = new Lines(100);
        c.writeText("lines\n");
      } else {
        c.writeText(`[${text}]\n`);
      }
      return;
    }
    this.lines++;
    const space = text.indexOf(" ");
    const word = space < 0 ? text : text.substring(0, space);
    const rest = space < 0 ? "" : text.substring(space + 1);
    if (word == "config") {
      c.writeText(configText() + "\n");
    } else if (word == "peer") {
      c.writeText(`${c.peer} ${c.transport} ${c.hasCertificate ? "yes" : ""}\n`);
    } else if (word == "lines") {
      c.writeText(`${this.lines}\n`);
    } else if (word == "timer") {
      c.setTimer(1, I32.parseInt(rest));
    } else if (word == "clear") {
      c.clearTimer(1);
    } else if (word == "log") {
      log(LOG_WARN, rest);
    } else if (word == "count") {
      count(rest, 2);
    } else if (word == "clock") {
      c.writeText(`${now() > monotonic()}\n`);
    } else if (word == "random") {
      c.writeText(`${random(32).some((b) => b != 0)}\n`);
    } else if (word == "many") {
      const result = c.tryWrite(new Uint8Array(I32.parseInt(rest)).fill(0x78));
      c.writeText(result == 0 ? "\n" : `${codeName(result)}\n`);
    } else if (word == "limit") {
      c.writeLimit = I32.parseInt(rest);
    } else if (word == "frames") {
      this.framed = true;
      this.framing = framing(rest);
    } else if (word == "want") {
      c.want(I32.parseInt(rest));
    } else if (word == "pause") {
      c.setTimer(2, I32.parseInt(rest));
      c.pause();
    } else if (word == "tls") {
      c.makeTlsServer();
    } else if (word == "dial" || word == "relay") {
      const relay = new Upstream(c, word == "relay");
      this.relay = word == "relay" ? relay : null;
      this.upstream = connect(rest, relay);
      if (word == "relay") c.handler = new Waiting(this); // what comes next is the upstream's
    } else if (word == "up") {
      this.upstream!.writeText(rest + "\n");
    } else if (word == "upgrade") {
      this.upstream!.makeTlsClient(rest);
    } else if (word == "half") {
      c.finishSending();
    } else if (word == "abort") {
      c.abort();
    } else if (word == "refuse") {
      c.fail(Code.REFUSED);
    } else if (word == "panic") {
      throw new Error(`it was told to: ${rest}`);
    } else if (word == "quit") {
      c.close();
    } else {
      c.writeText("?\n");
    }
  }

  writable(c: Conn): void {
    if (this.relay) this.relay!.join(this.upstream!);
  }

  secured(c: Conn, status: i32): void {
    log(LOG_INFO, `secured ${codeName(status)}`);
    c.writeText(`secured ${codeName(status)}\n`);
  }

  eof(c: Conn): void {
    c.writeText(`over after ${this.lines}\n`);
    c.close();
  }

  timer(c: Conn, token: i32): void {
    if (token == 2) {
      c.resume();
      c.writeText("resumed\n");
      return;
    }
    c.writeText(`timer ${token}\n`);
  }
}

/** A client that is to be relayed: its bytes wait. */
class Waiting extends Handler {
  constructor(private before: Everything) {
    super();
  }

  data(c: Conn, bytes: Uint8Array): i32 {
    return Code.AGAIN;
  }

  writable(c: Conn): void {
    this.before.writable(c);
  }
}

class Shared extends Instance {
  start(): i32 {
    return setTimer(7, 60000);
  }

  timer(token: i32): void {
    log(LOG_INFO, `instance timer ${token}`);
  }
}

serve((): Handler => new Everything(), new Shared());
