// What a script does to harm others: what it is told to, in the callback that it is told to.
const harm = {
  spin() { for (;;); },
  throw() { null.x; },
  arrays() { const all = []; for (;;) all.push(new Uint8Array(65536)); },
  texts() { let all = "x"; for (;;) all += all; },
  recursion() { return harm.recursion() + 1; },
  search() { /^(a+)+$/.test("a".repeat(40) + "b"); },
  sends(c) { for (;;) c.send("x".repeat(65536)); },
  logs() { for (;;) log("flood"); },
  counts() { for (let i = 0; ; i++) count("n" + i); },
  timeouts() { for (;;) setTimeout(() => {}, 1e6); },
  timers(c) { for (let i = 0; ; i++) c.timer(i, 1e6); },
  dials() { for (;;) dial("tcp://127.0.0.1:1").catch(() => {}); },
  forbidden() { dial("tcp://192.0.2.1:1"); },
  nesting() { JSON.parse("[".repeat(1e6)); },
  wide() { JSON.parse("[" + "0,".repeat(1e6) + "0]"); },
  cycle() { const a = []; a.push(a); JSON.stringify(a); },
  tasks() { const again = () => Promise.resolve().then(again); again(); },
};
const at = (c, where) => { if (c.where === where) harm[c.what](c); };
export default {
  start() { if (config.start) harm[config.start](); },
  open(c) { if (config.open) harm[config.open](c); },
  line(c, text) {
    [c.what, c.where] = text.split(" ");
    if (text === "?") return c.send("tame\n");
    if (c.where === "timer") c.timer(1, 0);
    if (c.where === "later") setTimeout(() => at(c, "later"), 0);
    if (c.where === "writable") c.send("x".repeat(200000));
    if (c.where === "closed") c.close();
    at(c, "line");
  },
  eof(c) { at(c, "eof"); c.close(); },
  timer(c) { at(c, "timer"); },
  writable(c) { at(c, "writable"); },
  closed(c) { at(c, "closed"); },
};
