// Answers each line with that line.
export default {
  line(c, text) { c.send(text + "\n"); },
};
