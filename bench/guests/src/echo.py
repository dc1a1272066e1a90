# Answers each line with that line.
def line(c, text):
    c.send(text + "\n")
