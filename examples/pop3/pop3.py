# A mailbox by POP3 (RFC 1939): the messages are in the listener's config. One instance serves all
# connections (instance = "listener"), so that a message which one client deletes is gone for the
# next, and only one client at a time has a mailbox.
import hashlib, hmac

line_limit = 512
boxes = {}  # by user: messages, each (text, unique id), or None once deleted
locked = set()  # the users whose mailbox somebody has

def start(config):
    for user, box in config.get("users", {}).items():
        messages = []
        for text in box.get("messages", []):
            text = text.replace("\r\n", "\n").replace("\n", "\r\n")
            if not text.endswith("\r\n"):
                text += "\r\n"
            b = text.encode()
            messages.append((b, hashlib.sha256(b).hexdigest()[:32]))
        boxes[user] = messages

def open(c):
    c.user = None  # once the password was right
    c.name = None
    c.failures = 0
    c.deleted = set()
    c.send("+OK Bulkhead's mailbox is ready\r\n")

def line(c, text):
    word, _, rest = text.partition(" ")
    f = (commands if c.user else strangers).get(word.upper())
    if f is None:
        return refuse(c, "there is no such command here")
    f(c, rest.strip())

def ok(c, text):
    c.send("+OK " + text + "\r\n")

def refuse(c, text):
    c.send("-ERR " + text + "\r\n")

def capa(c, rest):
    ok(c, "what there is")
    c.send("TOP\r\nUSER\r\nUIDL\r\nPIPELINING\r\nIMPLEMENTATION Bulkhead\r\n.\r\n")

def user(c, rest):
    c.name = rest
    ok(c, "and the password?")

def password(c, rest):
    account = config.get("users", {}).get(c.name, {})
    want = account.get("password", "")
    right = hmac.compare_digest(want.encode(), rest.encode()) and want != ""
    if c.name is None:
        return refuse(c, "USER comes first")
    if not right:
        c.failures += 1
        count("pop3_wrong_passwords")
        refuse(c, "[AUTH] wrong name or password")
        if c.failures == 3:
            c.close()
        return
    if c.name in locked:
        return refuse(c, "[IN-USE] somebody else has this mailbox")
    c.user = c.name
    locked.add(c.user)
    log("login", c.user)
    stat_line(c, "mailbox with")

def there(c):
    return [(n, m) for n, m in enumerate(boxes[c.user], 1) if m and n not in c.deleted]

def stat_line(c, what):
    all = there(c)
    ok(c, "%s %d messages (%d bytes)" % (what, len(all), sum(len(m[0]) for _, m in all)))

def stat(c, rest):
    all = there(c)
    ok(c, "%d %d" % (len(all), sum(len(m[0]) for _, m in all)))

def find(c, rest):
    if rest.isdigit():
        for n, m in there(c):
            if n == int(rest):
                return n, m
    refuse(c, "there is no such message")
    return None, None

def listing(c, rest, of):
    if rest:
        n, m = find(c, rest)
        if m:
            ok(c, "%d %s" % (n, of(m)))
        return
    ok(c, "all of them")
    for n, m in there(c):
        c.send("%d %s\r\n" % (n, of(m)))
    c.send(".\r\n")

def scan(c, rest):
    listing(c, rest, lambda m: len(m[0]))

def uidl(c, rest):
    listing(c, rest, lambda m: m[1])

# A line that begins with a dot gets another one before it, so that none is taken for the end.
def stuffed(b):
    if b.startswith(b"."):
        b = b"." + b
    return b.replace(b"\r\n.", b"\r\n..")

def retr(c, rest):
    n, m = find(c, rest)
    if m:
        ok(c, "%d bytes" % len(m[0]))
        c.send(stuffed(m[0]))
        c.send(".\r\n")
        count("pop3_messages")

def top(c, rest):
    number, _, lines = rest.partition(" ")
    if not lines.strip().isdigit():
        return refuse(c, "write TOP MESSAGE LINES")
    n, m = find(c, number)
    if m:
        head, _, body = m[0].partition(b"\r\n\r\n")
        lines = body.split(b"\r\n")[:-1][: int(lines)]
        ok(c, "the top")
        c.send(stuffed(head + b"\r\n\r\n" + b"".join(l + b"\r\n" for l in lines)))
        c.send(".\r\n")

def dele(c, rest):
    n, m = find(c, rest)
    if m:
        c.deleted.add(n)
        ok(c, "deleted when you quit")

def rset(c, rest):
    c.deleted.clear()
    stat_line(c, "again")

def noop(c, rest):
    ok(c, "nothing done")

def bye(c, rest):
    if c.user:
        for n in c.deleted:
            boxes[c.user][n - 1] = None
        unlock(c)
    ok(c, "bye")
    c.close()

def unlock(c):
    if c.user:
        locked.discard(c.user)
        c.user = None

# Whoever goes without QUIT has deleted nothing.
def closed(c, reason):
    unlock(c)

strangers = {"CAPA": capa, "USER": user, "PASS": password, "QUIT": bye}
commands = {
    "CAPA": capa, "STAT": stat, "LIST": scan, "UIDL": uidl, "RETR": retr, "TOP": top,
    "DELE": dele, "RSET": rset, "NOOP": noop, "QUIT": bye,
}
