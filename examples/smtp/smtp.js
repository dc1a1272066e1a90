// A mail sink, as the one in Go beside it: it takes messages as a mail server does, with STARTTLS
// and AUTH, logs one line for each, and keeps none. Its config is that of main.go.

const maxCommand = 1000; // bytes of a line; RFC 5321 has 512, to which extensions add
const maxAuthLine = 12288; // in the middle of AUTH (RFC 4954, section 4)
const maxRecipients = 100; // the least that RFC 5321 allows
const maxErrors = 20; // commands that are refused, in one connection
const maxBadLogins = 3;
const maxLogged = 700; // bytes of a line in the log, about
const idle = 290_000; // milliseconds that a client may say nothing
const idleTimer = 1;

const tooBig = "552 5.3.4 the message is too big";
const bareEnd = "554 5.6.0 lines end in CR LF, and neither comes alone";

const settings = { hostname: "localhost", max_size: 10 << 20, users: {}, require_auth: false, starttls: true };
const open = new Set();
let stopping = false;

// --- Messages --------------------------------------------------------------------------------

// A message as it comes behind DATA. Nothing is kept of it but its length and its hash. Only
// CR LF ends a line: a server that takes less for the end of a message than the one before it
// does can be given two messages in place of one.
class Body {
  sum = new Hash("sha256");
  size = 0;
  fault = "";
  at = "line start"; // or "in line", "after CR", "after dot", "after dot CR"

  // Consumes bytes, and answers how many; done says that the last of them ends the message.
  take(b) {
    let from = 0, i = 0;
    while (i < b.length) {
      const byte = b[i];
      if (this.at === "in line") { // most bytes are, so look for the next end of a line
        const cr = b.indexOf(13, i), lf = b.indexOf(10, i);
        const next = cr < 0 ? lf : lf < 0 ? cr : Math.min(cr, lf);
        if (next < 0) break;
        if (next === cr) this.at = "after CR";
        else this.blame(bareEnd);
        i = next + 1;
        continue;
      }
      if (this.at === "line start" && byte === 46) {
        this.add(b.subarray(from, i));
        from = ++i;
        this.at = "after dot";
        continue;
      }
      if (this.at === "after dot" && byte === 13) {
        from = ++i;
        this.at = "after dot CR";
        continue;
      }
      if (this.at === "after dot CR") {
        if (byte === 10) {
          this.done = true;
          return i + 1;
        }
        this.add("\r");
        this.blame(bareEnd);
        this.at = "in line";
      }
      if (this.at === "after CR" && byte === 10) {
        this.at = "line start";
      } else {
        if (this.at === "after CR" || byte === 10) this.blame(bareEnd);
        this.at = byte === 13 ? "after CR" : "in line";
      }
      i++;
    }
    this.add(b.subarray(from));
    return b.length;
  }

  add(b) {
    this.size += b.length;
    if (this.size > settings.max_size) this.blame(tooBig);
    else this.sum.update(b);
  }

  blame(fault) {
    this.fault ||= fault;
  }
}

// --- Lines -----------------------------------------------------------------------------------

const atom = "[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]+";
const local = `(?:${atom}(?:\\.${atom})*|"(?:[^"\\\\]|\\\\.)+")`;
const label = "[A-Za-z0-9](?:[A-Za-z0-9\\-]{0,61}[A-Za-z0-9])?";
const domain = `(?:${label}(?:\\.${label})*|\\[[A-Za-z0-9.:\\-]{1,62}\\])`;
const isDomain = new RegExp(`^${domain}$`);
// Where mail should go by (a source route) is left out of it, as RFC 5321 wants.
const isPath = new RegExp(`^<(?:@${domain}(?:,@${domain})*:)?(?:(${local})(@${domain})?)?>(?: (.*))?$`);

// Reads what stands behind FROM: and TO:, or answers undefined.
function parsePath(argument, word) {
  if (argument.slice(0, word.length).toUpperCase() !== word) return;
  const s = argument.slice(word.length).trimStart();
  const m = s.startsWith("<>") ? /^<>(?:()()$| (.*)$)/.exec(s) : isPath.exec(s);
  if (!m) return;
  const mailbox = (m[1] ?? "") + (m[2] ?? "");
  if (s[1] !== ">" && !m[1]) return;
  if (m[1] && !m[2] && m[1].toLowerCase() !== "postmaster") return; // the only mailbox that every host has
  if (m[1]?.length > 64 || mailbox.length > 254) return;
  return { mailbox, parameters: (m[3] ?? "").split(/\s+/).filter((p) => p) };
}

// --- The conversation ------------------------------------------------------------------------

// What the client has said. None of it holds after STARTTLS (RFC 3207, section 4.2).
function forget(c) {
  Object.assign(c, { greeted: false, extended: false, user: "", login: "", asked: null });
  reset(c);
}

function reset(c) {
  Object.assign(c, { mail: false, from: "", to: [], body: null });
}

function reply(c, line) {
  c.send(line + "\r\n");
  if (line[0] === "5" && ++c.errors === maxErrors) end(c, "421 4.7.0 too many errors");
}

function end(c, line) {
  c.over = true;
  c.send(line + "\r\n");
  c.close();
}

function sendAway(c) {
  if (c.over) return;
  if (c.upgrading) c.abort(); // in the middle of a handshake there is no way to say it
  else end(c, "421 4.3.2 the server stops; try again later");
}

// Begins the handshake, once the promise of it is with the host. What the client has sent behind
// STARTTLS must not count as said under TLS, and the host closes the connection for it.
function upgrade(c) {
  try {
    c.secure("server");
  } catch (e) {
    if (e.code !== "AGAIN") c.abort(); // else writable comes
  }
}

const offersTLS = (c) => settings.starttls && c.certificate === "yes";

function hello(c, verb, name) {
  if (name === "" || name.includes(" ")) return reply(c, `501 5.5.4 ${verb} wants a name`);
  reset(c);
  c.greeted = true;
  c.extended = verb === "EHLO";
  if (!c.extended) return reply(c, `250 ${settings.hostname}`);
  const lines = [settings.hostname, "PIPELINING", "8BITMIME", `SIZE ${settings.max_size}`];
  if (!c.secured && offersTLS(c)) lines.push("STARTTLS");
  if (c.secured && Object.keys(settings.users).length) lines.push("AUTH PLAIN LOGIN");
  reply(c, `250-${lines.join("\r\n250-")}\r\n250 ENHANCEDSTATUSCODES`);
}

// The reply to a parameter of MAIL that is not accepted, or undefined.
function refuses(c, parameter) {
  const [, name, value] = /^([^=]*)=?(.*)$/.exec(parameter);
  const key = name.toUpperCase();
  if (c.extended && key === "SIZE") {
    if (!/^\d+$/.test(value)) return "501 5.5.4 SIZE is a number";
    return Number(value) > settings.max_size ? tooBig : undefined;
  }
  if (c.extended && key === "BODY" && /^(7BIT|8BITMIME)$/i.test(value)) return;
  if (c.extended && key === "AUTH" && c.user && value) return; // whom it came from does not matter to a sink
  return `555 5.5.4 ${key} is no parameter that is known here`;
}

function accept(c) {
  const { fault, sum, size } = c.body;
  if (fault) {
    count("smtp_refused");
    reset(c);
    return reply(c, fault);
  }
  count("smtp_messages");
  count("smtp_bytes", size);
  const digest = hex.encode(sum.digest());
  let line = `message from=<${c.from}> bytes=${size} sha256=${digest} to=`;
  for (const [i, to] of c.to.entries()) {
    if (line.length > maxLogged) {
      line += ` and ${c.to.length - i} more`;
      break;
    }
    line += `${i ? "," : ""}<${to}>`;
  }
  log(line);
  reset(c);
  reply(c, `250 2.6.0 taken, and gone: ${digest.slice(0, 16)}`);
}

const commands = {
  EHLO: (c, argument) => hello(c, "EHLO", argument),
  HELO: (c, argument) => hello(c, "HELO", argument),
  STARTTLS(c, argument) {
    if (argument) return reply(c, "501 5.5.4 STARTTLS stands alone");
    if (c.secured) return reply(c, "503 5.5.1 this is TLS already");
    if (!offersTLS(c)) return reply(c, "502 5.5.1 there is no TLS here");
    reply(c, "220 2.0.0 go ahead");
    c.upgrading = true;
    upgrade(c);
  },
  AUTH(c, argument) {
    const [, mechanism, , first] = /^(\S*)( (.*))?$/.exec(argument);
    if (!Object.keys(settings.users).length) return reply(c, "502 5.5.1 there is nobody to log in");
    if (!c.secured) return reply(c, "538 5.7.11 encryption is required; use STARTTLS");
    if (!c.extended || c.user || c.mail) return reply(c, "503 5.5.1 not now");
    switch (mechanism.toUpperCase()) {
      case "PLAIN": c.asked = "plain"; break;
      case "LOGIN": c.asked = "name"; break;
      default: return reply(c, "504 5.5.4 there is PLAIN and LOGIN");
    }
    if (first === undefined) return reply(c, c.asked === "plain" ? "334 " : "334 VXNlcm5hbWU6"); // "Username:"
    answer(c, first === "=" ? "" : first); // an empty answer, and not none
  },
  MAIL(c, argument) {
    if (!c.greeted) return reply(c, "503 5.5.1 EHLO first");
    if (c.mail) return reply(c, "503 5.5.1 one sender is enough");
    if (settings.require_auth && !c.user) return reply(c, "530 5.7.0 log in first");
    const path = parsePath(argument, "FROM:");
    if (!path) return reply(c, "501 5.1.7 it is MAIL FROM:<name@domain>");
    for (const p of path.parameters) {
      const fault = refuses(c, p);
      if (fault) return reply(c, fault);
    }
    c.mail = true;
    c.from = path.mailbox;
    reply(c, "250 2.1.0 sender ok");
  },
  RCPT(c, argument) {
    const path = parsePath(argument, "TO:");
    if (!c.mail) return reply(c, "503 5.5.1 MAIL first");
    if (!path?.mailbox) return reply(c, "501 5.1.3 it is RCPT TO:<name@domain>");
    if (path.parameters.length) return reply(c, "555 5.5.4 RCPT has no parameters here");
    if (c.to.length === maxRecipients) return reply(c, "452 4.5.3 too many recipients");
    c.to.push(path.mailbox);
    reply(c, "250 2.1.5 recipient ok");
  },
  DATA(c, argument) {
    if (argument) return reply(c, "501 5.5.4 DATA stands alone");
    if (!c.to.length) return reply(c, "503 5.5.1 RCPT first");
    c.body = new Body();
    reply(c, "354 go on, and end with a dot");
  },
  RSET(c) {
    reset(c);
    reply(c, "250 2.0.0 forgotten");
  },
  NOOP: (c) => reply(c, "250 2.0.0 nothing done"),
  VRFY: (c) => reply(c, "252 2.5.0 send it, and see"),
  HELP: (c) => reply(c, "214 2.0.0 see RFC 5321"),
  QUIT: (c) => end(c, "221 2.0.0 good-bye"),
};
for (const verb of ["EXPN", "TURN", "ETRN", "BDAT"]) commands[verb] = (c) => reply(c, "502 5.5.1 that is not done here");

// Takes a line in the middle of AUTH.
function answer(c, line) {
  const was = c.asked;
  c.asked = null;
  if (line === "*") return reply(c, "501 5.7.0 as you wish");
  let given;
  try {
    if (line.length % 4 !== 0 || /[-_]/.test(line)) throw new TypeError("it has no padding, or another alphabet");
    given = text(base64.decode(line));
  } catch {
    return reply(c, "501 5.5.2 that is not base64");
  }
  if (was === "plain") {
    const parts = /^([^\0]*)\0([^\0]*)\0([^]*)$/.exec(given);
    if (!parts) return reply(c, "501 5.5.2 PLAIN wants a name to act as, a name and a password");
    const [, as, user, password] = parts;
    return logIn(c, user, password, as === "" || as === user);
  }
  if (was === "name") {
    c.login = given.slice(0, 256);
    c.asked = "password";
    return reply(c, "334 UGFzc3dvcmQ6"); // "Password:"
  }
  logIn(c, c.login, given, true);
}

function logIn(c, user, password, allowed) {
  const known = Object.hasOwn(settings.users, user);
  // Neither the time it takes nor the answer says which of the two was wrong.
  const same = equal(hash.sha256(password), hash.sha256(known ? settings.users[user] : ""));
  c.login = "";
  if (same && known && allowed) {
    c.user = user;
    return reply(c, "235 2.7.0 welcome");
  }
  count("smtp_bad_logins");
  if (++c.badLogins === maxBadLogins) return end(c, "421 4.7.0 too many wrong passwords");
  reply(c, "535 5.7.8 wrong name or password");
}

// Takes a line without its LF.
function hear(c, b) {
  if (b.at(-1) !== 13) {
    c.asked = null;
    return reply(c, "500 5.5.2 lines end in CR LF");
  }
  const line = text(b.subarray(0, -1));
  if (c.asked) return answer(c, line);
  if (!/^[ -~]*$/.test(line)) return reply(c, "500 5.5.2 commands are printable ASCII");
  const [, verb, argument] = /^(\S*) *(.*?) *$/.exec(line);
  const command = commands[verb.toUpperCase()];
  if (command) command(c, argument);
  else reply(c, "500 5.5.1 that is no command");
}

const maxLine = (c) => c.asked ? maxAuthLine : maxCommand;

export default {
  start(config) {
    for (const [key, value] of Object.entries(config)) {
      if (!Object.hasOwn(settings, key)) throw new Error(`config: unknown field "${key}"`);
      if (typeof value !== typeof settings[key]) throw new Error(`config: ${key} is no ${typeof settings[key]}`);
      settings[key] = value;
    }
    const { hostname, max_size, users, require_auth } = settings;
    if (!isDomain.test(hostname)) throw new Error(`config: hostname = "${hostname}" is no host name; write it as "mail.example.com"`);
    if (!(Number.isInteger(max_size) && max_size > 0)) throw new Error("config: max_size is a number of bytes above 0");
    if (require_auth && !Object.keys(users).length)
      throw new Error('config: require_auth needs somebody who can log in; add users = { ann = "secret" }');
    for (const [user, password] of Object.entries(users))
      if (!user || !password || typeof password !== "string") throw new Error(`config: users: ${user}: a user has a name and a password`);
  },

  open(c) {
    Object.assign(c, { secured: c.tlsVersion !== "", upgrading: false, over: false, skipping: false, errors: 0, badLogins: 0 });
    forget(c);
    open.add(c);
    c.timer(idleTimer, idle);
    reply(c, `220 ${settings.hostname} ESMTP`);
  },

  data(c, b) {
    c.timer(idleTimer, idle);
    let used = 0;
    while (used < b.length && !c.upgrading && !c.over && c.waiting === 0) {
      const rest = b.subarray(used);
      if (c.body) {
        used += c.body.take(rest);
        if (c.body.done) {
          accept(c);
          if (stopping) sendAway(c);
        }
        continue;
      }
      const end = rest.indexOf(10);
      if (c.skipping || (end < 0 ? rest.length : end) >= maxLine(c)) {
        if (!c.skipping) {
          c.asked = null;
          reply(c, "500 5.5.2 that line is too long");
        }
        c.skipping = end < 0;
        if (c.skipping) return b.length;
        used += end + 1;
        continue;
      }
      if (end < 0) break;
      used += end + 1;
      hear(c, rest.subarray(0, end));
    }
    return used;
  },

  timer(c) {
    if (!c.over && !c.upgrading) end(c, "421 4.4.2 nothing was said for too long");
  },

  writable(c) {
    if (c.upgrading && !c.over) upgrade(c);
  },

  secured(c, result) {
    c.upgrading = false;
    c.secured = result === "OK";
    forget(c);
    if (c.secured) count("smtp_secured");
  },

  closed(c) {
    open.delete(c);
  },

  // Everybody is sent away but those in the middle of a message, which may come to its end.
  stop() {
    stopping = true;
    for (const c of open) if (!c.body) sendAway(c);
  },
};
