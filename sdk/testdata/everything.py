# A handler that has something for each function of the engine: what a line says, it does.
import json
import struct
import time

# What precedes a message, as struct reads it.
LENGTHS = {"u8": "B", "u16be": ">H", "u16le": "<H", "u32be": ">I", "u32le": "<I"}


def message(frames, b):
    """The first message of the kind that frames names, and how many bytes it takes up with what is
    around it; None while it is not all there."""
    if frames in LENGTHS:
        size = struct.calcsize(LENGTHS[frames])
        if len(b) < size:
            return None
        n = struct.unpack(LENGTHS[frames], b[:size])[0]
        if n > 100:
            raise ValueError("the message is too long")
        return (b[size:size + n], size + n) if len(b) >= size + n else None
    if frames == "fixed5":
        return (b[:5], 5) if len(b) >= 5 else None
    delimiter = b"--" if frames == "until--" else b"\n"
    end = b.find(delimiter)
    if end > 100 or end < 0 and len(b) >= 100 + len(delimiter):
        raise ValueError("the message is too long")
    return (b[:end], end + len(delimiter)) if end >= 0 else None


def open(c):
    c.lines, c.frames, c.wanted, c.up, c.joins = 0, "", 0, None, False
    c.send("hello\n")
    after(60000, lambda: log.info("instance timer 7"))


def data(c, b):
    if len(b) < c.wanted:
        return 0
    c.wanted = 0
    done = 0
    while True:
        m = message(c.frames, b[done:])
        if m is None:
            return done
        done += m[1]
        text = m[0].decode()
        if c.frames:
            if text == "lines":
                c.frames = ""
            c.send("lines\n" if text == "lines" else "[" + text + "]\n")
            continue
        c.lines += 1
        word, _, rest = text.partition(" ")
        if not does(c, word, rest):
            return done


def does(c, word, rest):
    """Does what a line says, and tells whether the next one is to come."""
    if word == "config":
        c.send(json.dumps(config, separators=(",", ":")) + "\n")
    elif word == "peer":
        c.send(c.peer + " " + c.transport + " " + c.certificate + "\n")
    elif word == "lines":
        c.send("%d\n" % c.lines)
    elif word == "timer":
        c.timer(1, int(rest))
    elif word == "clear":
        c.timer(1, -1)
    elif word == "log":
        log.warn(rest)
    elif word == "count":
        count(rest, 2)
    elif word == "clock":
        c.send("true\n" if time.time() > time.monotonic() else "false\n")
    elif word == "random":
        c.send("true\n" if random_bytes(32) != bytes(32) else "false\n")
    elif word == "frames":
        c.frames = rest
    elif word == "want":
        c.wanted = int(rest)
        return False
    elif word == "pause":
        c.timer(2, int(rest))
        c.pause()
        return False
    elif word == "tls":
        c.secure("server")
        return False
    elif word == "dial":
        spawn(call(c, rest, False))
    elif word == "relay":
        spawn(call(c, rest, True))
        return False
    elif word == "up":
        c.up.send(rest + "\n")
    elif word == "upgrade":
        c.up.secure("client", rest)
    elif word == "half":
        c.finish()
    elif word == "quit":
        c.close()
        return False
    elif word == "abort":
        c.abort()
        return False
    elif word == "panic":
        raise RuntimeError("it was told to: " + rest)
    else:
        c.send("?\n")
    return True


class Upstream:
    """What is called for whom it has dialled."""

    def __init__(self, client):
        self.client = client

    def data(self, up, b):
        self.client.send(b)

    def eof(self, up):
        up.send("over after 0\n")
        up.close()

    def secured(self, up, result):
        secured(self.client, result)

    def closed(self, up, reason):
        self.client.send("upstream " + reason + "\n")


async def call(c, address, relays):
    """Dials for a client, and passes on what comes, or relays."""
    try:
        c.up = await dial(address, Upstream(c))
    except OSError as e:
        c.send("upstream " + str(e).split()[-1] + "\n")
        return
    c.send("up, from " + ("true" if c.up.local_address == "" else "false") + "\n")
    if relays:
        join(c)


def join(c):
    """Relays, as soon as what was sent to the client has left."""
    c.joins = False
    try:
        c.splice(c.up)
    except OSError as e:
        if "AGAIN" not in str(e):
            raise
        c.joins = True  # in writable


def writable(c):
    if c.joins:
        join(c)


def secured(c, result):
    log.info("secured", result)
    c.send("secured " + result + "\n")


def timer(c, token):
    if token == 2:
        c.resume()
        c.send("resumed\n")
    else:
        c.send("timer %d\n" % token)


def eof(c):
    c.send("over after %d\n" % c.lines)
    c.close()
