"""The protocol of GT06 and the many trackers that speak as it does: gt06.js, in Python.

  78 78  length (1)  protocol  content  serial (2)  CRC (2)  0d 0a
  79 79  length (2)  protocol  content  serial (2)  CRC (2)  0d 0a
"""

import crc
from struct import pack, unpack_from

LOGIN_WITHIN = 30_000  # milliseconds
LOGIN_TIMER = 1
MOST_LONG = 1024  # bytes that a long frame may count
MOST_BAD = 10  # frames with a wrong CRC, in one connection

LOGIN, POSITION, HEARTBEAT, ALARM, INFORMATION = 0x01, 0x12, 0x13, 0x16, 0x94

ALARMS = ["none", "SOS", "power cut", "shock", "into the fence", "out of the fence", "too fast"]


class Frame:
    """The frame that begins at a place. Its end is None when it has not come whole."""

    def __init__(self, b, at):
        self.end = None
        if len(b) - at < 5:
            return
        (start,) = unpack_from(">H", b, at)
        if start not in (0x7878, 0x7979):
            raise ValueError("a frame begins with %04x, and not with 7878 or 7979" % start)
        head = 3 if start == 0x7878 else 4  # the start and the length
        (length,) = unpack_from("B" if head == 3 else ">H", b, at + 2)
        if not 5 <= length <= MOST_LONG:
            raise ValueError("a frame says that it has %d bytes" % length)
        end = at + head + length + 2
        if len(b) < end:
            return
        if b[end - 2 : end] != b"\r\n":
            raise ValueError("a frame does not end in 0d 0a")
        self.serial, checksum = unpack_from(">HH", b, end - 6)
        self.whole = crc.x25(b[at + 2 : end - 4]) == checksum
        self.protocol = b[at + head]
        self.content = b[at + head + 1 : end - 6]
        self.end = end


def answer(c, frame):
    said = pack(">BBH", 5, frame.protocol, frame.serial)
    c.send(b"\x78\x78" + said + pack(">H", crc.x25(said)) + b"\r\n")


def degrees(n, negative):
    """Without a float, which has 30 bits here: six digits behind the point."""
    n = (n * 10 + 9) // 18
    return "%s%d.%06d" % ("-" if negative else "", n // 1_000_000, n % 1_000_000)


def place(content):
    """Time and place, with which positions and alarms begin: 18 bytes."""
    year, month, day, hour, minute, second, satellites, latitude, longitude, speed, course = unpack_from(">7BIIBH", content)
    return "at=20%02d-%02d-%02dT%02d:%02d:%02dZ latitude=%s longitude=%s speed=%d course=%d satellites=%d fixed=%s" % (
        year, month, day, hour, minute, second,
        degrees(latitude, not course & 0x0400),  # north, if the bit is set
        degrees(longitude, course & 0x0800),  # west, if it is
        speed, course & 0x03FF, satellites & 15, "true" if course & 0x1000 else "false",
    )


def login(c, frame):
    if len(frame.content) < 8:
        raise ValueError("a login has no IMEI")
    imei = frame.content[:8].hex()[1:]  # 15 digits, two a byte
    if not imei.isdigit():
        raise ValueError("the IMEI of a login has other digits than 0 to 9")
    c.imei = imei
    c.timer(LOGIN_TIMER, -1)
    answer(c, frame)
    log("login", imei)


def heartbeat(c, frame):
    state, voltage, signal = unpack_from("BBB", frame.content)
    answer(c, frame)
    log("heartbeat", c.imei, "state=%x voltage=%d signal=%d" % (state, voltage, signal))


def position(c, frame):
    count("gt06_positions")
    log("position", c.imei, place(frame.content))


def alarm(c, frame):
    kind = frame.content[-2]
    count("gt06_alarms")
    answer(c, frame)
    log.warn("alarm", c.imei, 'kind="%s"' % (ALARMS[kind] if kind < len(ALARMS) else kind), place(frame.content))


def information(c, frame):
    log("information", c.imei, "kind=%d content=%s" % (frame.content[0], frame.content[1:].hex()))


MESSAGES = {LOGIN: login, HEARTBEAT: heartbeat, POSITION: position, ALARM: alarm, INFORMATION: information}


def hear(c, frame):
    if not frame.whole:
        count("gt06_bad_frames")
        c.bad += 1
        if c.bad > MOST_BAD:
            raise ValueError("more than %d frames have a wrong CRC" % MOST_BAD)
        return  # the tracker sends it again
    if c.imei is None and frame.protocol != LOGIN:
        raise ValueError("a tracker says something before its login")
    message = MESSAGES.get(frame.protocol)
    if message:  # those that are not known need no answer
        message(c, frame)


def open(c):
    c.imei = None
    c.bad = 0
    c.timer(LOGIN_TIMER, LOGIN_WITHIN)


def data(c, b):
    """It answers how many bytes it has used; the beginning of a frame comes again with its end."""
    used = 0
    frame = Frame(b, used)
    while frame.end is not None:
        hear(c, frame)
        used = frame.end
        frame = Frame(b, used)
    return used


def timer(c, token):
    log("no login from", c.peer)
    c.close()
