# session.py - records the shell of the guide's first page (examples/guide/start.md) as it is typed in a terminal, and
# writes it as an asciicast (examples/guide/pictures/session.cast) that `asciinema play` shows. Called by `make session`.
#
# What is typed are the blocks of the page; each line is sent when the prompt of the one before has come. Pauses are cut
# to two seconds, and there is one before each line, for those who read along. Without arguments; the library is found
# as the environment says.
import json, os, pty, re, select, shutil, sys, tempfile, time

PAGE, OUTPUT, PROMPT = "examples/guide/start.md", "examples/guide/pictures/session.cast", "shop$ "
COLUMNS, ROWS, PAUSE_MAX, READING = 100, 28, 2.0, 1.2

page = open(PAGE, encoding="utf-8").read()
program = re.search(r"```lua file=shop\.lua\n(.*?)```", page, re.S).group(1)
blocks = re.findall(r"```sh\n(.*?)```", page, re.S)
top = os.getcwd()
work = tempfile.mkdtemp()
os.mkdir(work + "/bin")
with open(work + "/bin/pipeline", "w", encoding="utf-8") as file:
    file.write('#!/bin/sh\nexec lua5.4 "%s/lua/pipeline/command/script.lua" "$@"\n' % top)
os.chmod(work + "/bin/pipeline", 0o755)
with open(work + "/shop.lua", "w", encoding="utf-8") as file:
    file.write(program)

pid, terminal = pty.fork()
if pid == 0:
    os.chdir(work)
    os.environ.update(PATH=work + "/bin:" + os.environ["PATH"], PS1=PROMPT, TERM="xterm-256color", LANG="C.UTF-8",
                      COLUMNS=str(COLUMNS), LINES=str(ROWS), BASH_SILENCE_DEPRECATION_WARNING="1")
    os.execvp("bash", ["bash", "--norc", "--noediting", "-i"])

import fcntl, struct, termios
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
events, at, last = [], 0.0, time.monotonic()


def note(text):
    global at, last
    now = time.monotonic()
    at += min(now - last, PAUSE_MAX)
    last = now
    events.append([round(at, 3), "o", text])


def read_to_prompt(limit=60):
    seen, end = b"", time.monotonic() + limit
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            data = os.read(terminal, 65536)
            seen += data
            note(data.decode("utf-8", "replace"))
        elif seen.endswith(PROMPT.encode()):
            return
    sys.exit("session.py: no prompt after %d s: %r" % (limit, seen[-200:]))


read_to_prompt()
for block in blocks:
    for line in re.sub(r"\\\n\s*", "", block).strip().split("\n"):
        at += READING
        os.write(terminal, line.encode() + b"\n")
        read_to_prompt()
os.write(terminal, b"exit\n")
os.waitpid(pid, 0)
shutil.rmtree(work)
with open(OUTPUT, "w", encoding="utf-8") as file:
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "pipeline: start, break, find why, mend"}
    file.write(json.dumps(head) + "\n")
    for event in events:
        file.write(json.dumps(event, ensure_ascii=False) + "\n")
print("%s: %d bytes, %.0f s" % (OUTPUT, os.path.getsize(OUTPUT), at))
