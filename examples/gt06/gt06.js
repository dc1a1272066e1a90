// The protocol of GT06 and the many trackers that speak as it does: login, heartbeat, position and
// alarm, in frames of both kinds. What a tracker says is logged, a line each.
//
//   78 78  length (1)  protocol  content  serial (2)  CRC (2)  0d 0a
//   79 79  length (2)  protocol  content  serial (2)  CRC (2)  0d 0a
//
// The length counts from the protocol to the CRC, which is X.25's, of all from the length to the
// serial number.

const loginWithin = 30_000; // milliseconds
const loginTimer = 1;
const mostLong = 1024; // bytes that a long frame may count
const mostBad = 10; // frames with a wrong CRC, in one connection

const LOGIN = 0x01, POSITION = 0x12, HEARTBEAT = 0x13, ALARM = 0x16, INFORMATION = 0x94;

const alarms = ["none", "SOS", "power cut", "shock", "into the fence", "out of the fence", "too fast"];

// Takes the frame that begins at a place, and is null when it has not come whole. It throws at what
// is no frame.
function frameAt(b, at) {
  if (b.length - at < 5) return null;
  const [start] = unpack(">H", b, at);
  if (start !== 0x7878 && start !== 0x7979) throw new Error(`a frame begins with ${start.toString(16)}, and not with 7878 or 7979`);
  const head = start === 0x7878 ? 3 : 4; // the start and the length
  const [length] = unpack(head === 3 ? "B" : ">H", b, at + 2);
  if (length < 5 || length > mostLong) throw new Error(`a frame says that it has ${length} bytes`);
  const end = at + head + length + 2;
  if (b.length < end) return null;
  if (b[end - 2] !== 0x0d || b[end - 1] !== 0x0a) throw new Error("a frame does not end in 0d 0a");
  const [serial, sum] = unpack(">HH", b, end - 6);
  return {
    end, serial,
    whole: crc.x25(b.subarray(at + 2, end - 4)) === sum,
    protocol: b[at + head],
    content: b.subarray(at + head + 1, end - 6),
  };
}

function answer(c, { protocol, serial }) {
  const said = pack(">BBH", 5, protocol, serial);
  c.send(concat(pack(">H", 0x7878), said, pack(">H", crc.x25(said)), "\r\n"));
}

// Time and place, with which positions and alarms begin: 18 bytes.
function place(content) {
  const [year, month, day, hour, minute, second, satellites, latitude, longitude, speed, course] = unpack(">6BBIIBH", content);
  const two = (n) => String(n).padStart(2, "0");
  const degrees = (n, negative) => (negative ? -n : n) / 1_800_000;
  return {
    at: `20${two(year)}-${two(month)}-${two(day)}T${two(hour)}:${two(minute)}:${two(second)}Z`,
    latitude: degrees(latitude, !(course & 0x0400)).toFixed(6), // north, if the bit is set
    longitude: degrees(longitude, course & 0x0800).toFixed(6), // west, if it is
    speed, // km/h
    course: course & 0x03ff, // degrees
    satellites: satellites & 15,
    fixed: (course & 0x1000) !== 0,
  };
}

const written = (fields) => Object.entries(fields).map(([name, value]) => `${name}=${value}`).join(" ");

const messages = {
  [LOGIN](c, frame) {
    if (frame.content.length < 8) throw new Error("a login has no IMEI");
    c.imei = hex.encode(frame.content.subarray(0, 8)).slice(1); // 15 digits, two a byte
    if (!/^\d+$/.test(c.imei)) throw new Error("the IMEI of a login has other digits than 0 to 9");
    c.timer(loginTimer, -1);
    answer(c, frame);
    log("login", c.imei);
  },
  [HEARTBEAT](c, frame) {
    const [state, voltage, signal] = unpack("BBB", frame.content);
    answer(c, frame);
    log("heartbeat", c.imei, written({ state: state.toString(16), voltage, signal }));
  },
  [POSITION](c, frame) {
    count("gt06_positions");
    log("position", c.imei, written(place(frame.content)));
  },
  [ALARM](c, frame) {
    const [kind] = unpack("B", frame.content, frame.content.length - 2);
    count("gt06_alarms");
    answer(c, frame);
    log.warn("alarm", c.imei, `kind="${alarms[kind] ?? kind}"`, written(place(frame.content)));
  },
  [INFORMATION](c, frame) {
    const [kind] = unpack("B", frame.content);
    log("information", c.imei, written({ kind, content: hex.encode(frame.content.subarray(1)) }));
  },
};

function hear(c, frame) {
  if (!frame.whole) {
    count("gt06_bad_frames");
    c.bad = (c.bad ?? 0) + 1;
    if (c.bad > mostBad) throw new Error(`more than ${mostBad} frames have a wrong CRC`);
    return; // the tracker sends it again
  }
  if (!c.imei && frame.protocol !== LOGIN) throw new Error("a tracker says something before its login");
  messages[frame.protocol]?.(c, frame); // those that are not known need no answer
}

export default {
  open(c) {
    c.timer(loginTimer, loginWithin);
  },
  // It answers how many bytes it has used; the beginning of a frame comes again with its end.
  data(c, b) {
    let used = 0;
    for (let frame; (frame = frameAt(b, used)) !== null; used = frame.end) hear(c, frame);
    return used;
  },
  timer(c) {
    log("no login from", c.peer);
    c.close();
  },
};
