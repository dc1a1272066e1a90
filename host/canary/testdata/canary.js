// It keeps what it is given wherever it can, and says all that it has.
const given = [], kept = new Map();
let text = "";
const endings = {
  stay() {},
  close(c) { c.close(); },
  abort(c) { c.abort(); },
  throw() { null.x; },
  spin() { for (;;); },
  hog() { for (;;) given.push(given[0] + given.length, bytes(given[0].repeat(100))); },
  recursion(c) { return endings.recursion(c, given[0] + "x") + 1; },
  later(c) { setTimeout(() => { throw new Error(c.canary); }, 0); },
};
export default {
  line(c, what) {
    const [canary, ending] = what.split(" ");
    if (canary) {
      given.push(canary);
      kept.set(canary, bytes(canary));
      text += canary;
      c.canary = canary;
      log(canary);
    }
    c.send([config.secret, given.join(), [...kept.keys()].join(), text].join(" ") + "\n");
    endings[ending](c);
  },
};
