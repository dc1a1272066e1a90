// A chat server for nc and telnet, as the one in Go beside it. All members are in one instance:
// instance = "listener".

const maxLine = 512, maxName = 20, maxMembers = 1000, maxListed = 50;
const nameWithin = 60_000; // milliseconds that a client has to say its name
const nameTimer = 1;
const help = "/join ROOM, /who, /quit";

const everyone = new Set(); // connections
const names = new Map(); // named ones, by name in lower case
const rooms = new Map(); // by name in lower case; none is empty

const validName = (name) => /^[A-Za-z0-9_-]{1,20}$/.test(name);
const plural = (n) => `${n} ${n === 1 ? "other" : "others"}`;

// Makes bytes fit for other people's terminals: no control characters, no marks that turn the
// direction of writing, a ? for what is not UTF-8.
function clean(b) {
  return text(b).replaceAll("\uFFFD", "?").replaceAll("\t", " ")
    .replace(/[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u061c]/g, "");
}

// Sends to a member, or throws when too much waits for it already.
function tell(c, what) {
  try {
    c.send(`* ${what}\n`);
  } catch {
    // It is dropped with the next line for its room; the answer is lost.
  }
}

// Sends a line to a room. Who cannot take it is dropped, and that is announced in turn.
function broadcast(room, except, line) {
  const slow = [];
  for (const c of room.members) {
    if (c === except) continue;
    try {
      c.send(line);
    } catch {
      slow.push(c);
    }
  }
  for (const c of slow) {
    if (c.gone) continue; // a drop before this one has found it as well
    count("chat_dropped");
    c.abort();
    leave(c, "was too slow, and is gone");
  }
}

function move(c, name) {
  const key = name.toLowerCase();
  const room = rooms.get(key) ?? { name, members: new Set() };
  broadcast(room, null, `* ${c.name} joined\n`);
  rooms.set(key, room); // also when the last member has been dropped just now
  room.members.add(c);
  c.room = room;
  tell(c, `you are in ${room.name}, with ${plural(room.members.size - 1)}`);
}

function depart(c, how) {
  const room = c.room;
  if (!room) return;
  c.room = null;
  room.members.delete(c);
  broadcast(room, c, `* ${c.name} ${how}\n`);
  if (room.members.size === 0) rooms.delete(room.name.toLowerCase());
}

function leave(c, how) {
  if (c.gone) return;
  c.gone = true;
  c.close();
  if (!c.name) return;
  names.delete(c.name.toLowerCase());
  count("chat_members", -1);
  depart(c, how);
}

function enter(c, name) {
  name = name.trim();
  if (!validName(name)) return tell(c, `a name is 1 to ${maxName} letters, digits, - and _; what is yours?`);
  if (names.has(name.toLowerCase())) return tell(c, `${name} is taken; what else may we call you?`);
  c.name = name;
  names.set(name.toLowerCase(), c);
  c.timer(nameTimer, -1);
  count("chat_members");
  tell(c, `hello, ${name}. There is ${help}`);
  move(c, "lobby");
}

const commands = {
  "/join"(c, name) {
    if (!validName(name)) return tell(c, `a room is 1 to ${maxName} letters, digits, - and _`);
    if (c.room.name.toLowerCase() === name.toLowerCase()) return tell(c, `you are in ${c.room.name} already`);
    depart(c, `went to ${name}`);
    if (!c.gone) move(c, name);
  },
  "/who"(c) {
    const all = [...c.room.members].map((m) => m.name).sort();
    const more = all.length - maxListed;
    tell(c, `in ${c.room.name}: ${all.slice(0, maxListed).join(", ")}${more > 0 ? `, and ${more} more` : ""}`);
  },
  "/quit"(c) {
    tell(c, "good-bye");
    leave(c, "left");
  },
};

function hear(c, line) {
  if (!c.name) return enter(c, line);
  if (line === "") return;
  if (line[0] !== "/") return broadcast(c.room, c, `${c.name}: ${line}\n`);
  const blank = line.indexOf(" ");
  const command = blank < 0 ? line : line.slice(0, blank);
  if (!Object.hasOwn(commands, command)) return tell(c, `there is no ${command}; there is ${help}`);
  commands[command](c, blank < 0 ? "" : line.slice(blank).trim());
}

// Takes a line without its LF, or refuses it.
function take(c, line) {
  if (line.at(-1) === 13) line = line.subarray(0, -1); // CR
  if (line.length > maxLine) refuse(c);
  else hear(c, clean(line));
}

function refuse(c) {
  tell(c, `that line is longer than ${maxLine} bytes, so nobody has seen it; please make it shorter`);
}

export default {
  queueLimit: 16384,

  open(c) {
    everyone.add(c);
    if (everyone.size > maxMembers) {
      tell(c, "the chat is full; try again later");
      return leave(c);
    }
    tell(c, "what is your name?");
    c.timer(nameTimer, nameWithin);
  },

  // It is data and not line, because line has no word for lines that are too long: it closes.
  data(c, b) {
    let used = 0;
    c.begun = null;
    while (used < b.length && !c.gone && c.waiting === 0) {
      const end = b.indexOf(10, used);
      if (end < 0) {
        const rest = b.subarray(used);
        if (!c.skipping && rest.length > maxLine + 1) {
          c.skipping = true;
          refuse(c);
        }
        if (c.skipping) return b.length;
        c.begun = rest;
        return used;
      }
      const line = b.subarray(used, end);
      used = end + 1;
      if (c.skipping) c.skipping = false; // this was the end of it
      else take(c, line);
    }
    return used;
  },

  // The last line counts without its end, as printf sends it.
  eof(c) {
    if (c.begun?.length && !c.gone && !(c.begun.length === 1 && c.begun[0] === 13)) take(c, c.begun);
    leave(c, "left");
  },

  timer(c) {
    if (c.name) return;
    tell(c, "you have no name, so good-bye");
    leave(c);
  },

  closed(c) {
    leave(c, "left");
    everyone.delete(c);
  },

  stop() {
    for (const c of everyone) {
      tell(c, "the server stops; good-bye");
      c.gone = true;
      c.close();
    }
    count("chat_members", -names.size);
    names.clear();
    rooms.clear();
  },
};
