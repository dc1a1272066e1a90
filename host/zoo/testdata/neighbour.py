# A script that says all it knows, beside a hostile one on the same engine.
all = [config["secret"] + str(i) for i in range(200)]
asked = 0
names = 0
def line(c, text):
    global asked
    count("asked")
    log(config["secret"])
    asked += 1
    others = [a for i, a in enumerate(all) if a != config["secret"] + str(i)]
    if len(globals()) != names: others.append("globals")
    if any(bytearray(4096)): others.append("bytes")
    c.send(" ".join([config["secret"], c.tenant, str(asked), ",".join(others)]) + "\n")
names = len(globals())
