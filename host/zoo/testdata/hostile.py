# What a script does to harm others: what it is told to, in the callback that it is told to.
import json, re

def again(): return recursion() + 1
def spin():
    while True: pass
def throw(): None.x
def arrays():
    all = []
    while True: all.append(bytearray(65536))
def texts():
    all = "x"
    while True: all += all
def recursion(): return again() + 1
def search(): re.match("a?" * 30 + "a" * 30, "a" * 30)
def sends(c):
    while True: c.send("x" * 65536)
def logs():
    while True: log("flood")
def counts():
    i = 0
    while True:
        i += 1
        count("n" + str(i))
def timeouts():
    while True: after(1000000, print)
def timers(c):
    i = 0
    while True:
        i += 1
        c.timer(i, 1000000)
async def one():
    try:
        await dial("tcp://127.0.0.1:1")
    except OSError:
        pass
def dials():
    while True: spawn(one())
def forbidden():
    async def one(): await dial("tcp://192.0.2.1:1")
    spawn(one())
def nesting(): json.loads("[" * 1000000)
def wide(): json.loads("[" + "0," * 1000000 + "0]")
def cycle():
    a = []
    a.append(a)
    json.dumps(a)
def tasks():
    async def again(): spawn(again())
    spawn(again())

def harm(c, what):
    f = globals()[what]
    if what in ("sends", "timers"): f(c)
    else: f()
def at(c, where):
    if c.where == where: harm(c, c.what)

def start(config):
    if "start" in config: harm(None, config["start"])
def open(c):
    c.where = ""
    if "open" in config: harm(c, config["open"])
def line(c, text):
    if text == "?": return c.send("tame\n")
    c.what, c.where = text.split(" ")
    if c.where == "timer": c.timer(1, 0)
    if c.where == "later": after(0, lambda: at(c, "later"))
    if c.where == "writable": c.send("x" * 200000)
    if c.where == "closed": c.close()
    at(c, "line")
def eof(c):
    at(c, "eof")
    c.close()
def timer(c, token): at(c, "timer")
def writable(c): at(c, "writable")
def closed(c, reason): at(c, "closed")
