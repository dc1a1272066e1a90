interface State { name?: string }

export default {
  open(c) { c.send("What is your name?\r\n"); },
  line(c, text) {
    if (text === "quit") return c.close();
    if (c.name) return c.send(`${c.name} says ${text}\r\n`);
    c.name = text;
    c.send(`Hello, ${text}!\r\n`);
  },
} satisfies Handler<State>;
