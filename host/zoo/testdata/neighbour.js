// A script that says all it knows, beside a hostile one on the same engine.
const all = [];
for (let i = 0; i < 200; i++) all.push(config.secret + i);
let asked = 0;
export default {
  line(c) {
    count("asked");
    log(config.secret);
    const others = Object.keys(c).concat(all.filter((a, i) => a !== config.secret + i));
    if (new Uint8Array(4096).some((b) => b !== 0)) others.push("bytes");
    c.send([config.secret, c.tenant, ++asked, others].join(" ") + "\n");
  },
};
