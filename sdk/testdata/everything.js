// A handler that has something for each function of the engine: what a line says, it does.

// The first message of the kind that frames names, and how many bytes it takes up with what is
// around it; undefined while it is not all there.
function message(frames, b) {
  const sized = (size, format) => {
    if (b.length < size) return;
    const n = unpack(format, b)[0];
    if (n > 100) throw new Error("the message is too long");
    if (b.length >= size + n) return [b.subarray(size, size + n), size + n];
  };
  const until = (end) => {
    for (let i = 0; i + end.length <= b.length && i <= 100; i++) {
      if (end.every((x, j) => b[i + j] === x)) return [b.subarray(0, i), i + end.length];
    }
    if (b.length >= 100 + end.length) throw new Error("the message is too long");
  };
  switch (frames) {
    case "u8": return sized(1, "B");
    case "u16be": return sized(2, ">H");
    case "u16le": return sized(2, "<H");
    case "u32be": return sized(4, ">I");
    case "u32le": return sized(4, "<I");
    case "fixed5": return b.length < 5 ? undefined : [b.subarray(0, 5), 5];
    case "until--": return until(bytes("--"));
  }
  return until(bytes("\n"));
}

function open(c) {
  c.lines = 0;
  c.frames = "";
  c.wanted = 0;
  c.send("hello\n");
  setTimeout(() => log.info("instance timer 7"), 60000);
}

function data(c, all) {
  if (all.length < c.wanted) return 0;
  c.wanted = 0;
  let done = 0;
  for (let m; (m = message(c.frames, all.subarray(done)));) {
    done += m[1];
    const line = text(m[0]);
    if (c.frames) {
      if (line === "lines") c.frames = "";
      c.send(line === "lines" ? "lines\n" : `[${line}]\n`);
      continue;
    }
    c.lines++;
    const [, word, rest] = /^(\S*) ?(.*)$/.exec(line);
    if (!(word in words)) c.send("?\n");
    else if (words[word](c, rest) === false) break;
  }
  return done;
}

const words = {
  config(c) { c.send(JSON.stringify(config) + "\n"); },
  peer(c) { c.send(`${c.peer} ${c.transport} ${c.certificate}\n`); },
  lines(c) { c.send(`${c.lines}\n`); },
  timer(c, ms) { c.timer(1, Number(ms)); },
  clear(c) { c.timer(1, -1); },
  log(c, what) { log.warn(what); },
  count(c, name) { count(name, 2); },
  clock(c) { c.send(`${Date.now() > 1e12}\n`); },
  random(c) { c.send(`${randomBytes(32).some((b) => b)}\n`); },
  frames(c, kind) { c.frames = kind; },
  want(c, n) { c.wanted = Number(n); return false; },
  pause(c, ms) { c.timer(2, Number(ms)); c.pause(); return false; },
  tls(c) { c.secure("server"); return false; },
  dial(c, address) { call(c, address, false); },
  relay(c, address) { call(c, address, true); return false; },
  up(c, what) { c.up.send(what + "\n"); },
  upgrade(c, name) { c.up.secure("client", name); },
  half(c) { c.end(); },
  quit(c) { c.close(); return false; },
  abort(c) { c.abort(); return false; },
  panic(c, what) { throw new Error("it was told to: " + what); },
};

// Dials for a client, and passes on what comes, or relays.
async function call(c, address, relays) {
  try {
    c.up = await dial(address, {
      data(up, bytes) { c.send(bytes); },
      eof(up) { up.send("over after 0\n"); up.close(); },
      secured(up, result) { secured(c, result); },
      closed(up, reason) { c.send(`upstream ${reason}\n`); },
    });
  } catch (e) {
    c.send(`upstream ${e.code}\n`);
    return;
  }
  c.send(`up, from ${c.up.local === ""}\n`);
  if (relays) join(c);
}

// Relays, as soon as what was sent to the client has left.
function join(c) {
  try {
    c.splice(c.up);
  } catch (e) {
    if (e.code !== "AGAIN") throw e;
    c.joins = true; // in writable
  }
}

function writable(c) {
  if (c.joins) join(c);
}

function secured(c, result) {
  log.info("secured", result);
  c.send(`secured ${result}\n`);
}

export default {
  open, data, writable, secured,
  timer(c, token) {
    if (token === 2) {
      c.resume();
      c.send("resumed\n");
    } else {
      c.send(`timer ${token}\n`);
    }
  },
  eof(c) {
    c.send(`over after ${c.lines}\n`);
    c.close();
  },
};
