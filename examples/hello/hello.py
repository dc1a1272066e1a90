def open(c):
    c.name = None
    c.send("What is your name?\r\n")

def line(c, text):
    if text == "quit":
        return c.close()
    if c.name:
        return c.send(c.name + " says " + text + "\r\n")
    c.name = text
    c.send("Hello, " + text + "!\r\n")
