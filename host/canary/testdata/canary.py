# It keeps what it is given wherever it can, and says all that it has.
given, kept, text = [], {}, ""
def stay(c): pass
def close(c): c.close()
def abort(c): c.abort()
def throw(c): None.x
def spin(c):
    while True: pass
def hog(c):
    while True: given.append(given[0] * 100 + str(len(given)))
def recursion(c, s=""): return recursion(c, given[0] + "x") + 1
def raising(c): raise ValueError(c.canary)
def later(c): after(0, lambda: raising(c))
def line(c, what):
    global text
    canary, _, ending = what.partition(" ")
    if canary:
        given.append(canary)
        kept[canary] = canary.encode()
        text += canary
        c.canary = canary
        log(canary)
    c.send(" ".join([config["secret"], ",".join(given), ",".join(kept), text]) + "\n")
    globals()[ending](c)
