"""terminal.py COLUMNS LINES [--send PATTERN KEYS]... -- COMMAND...: runs a command in a terminal of that size.

What the command writes to the terminal goes to standard output as it is. Each --send waits until PATTERN has been
written, behind what the one before has waited for, and then types KEYS (with the escapes of Python). The exit code is
that of the command; 128 + n if signal n has ended it.
"""
import fcntl
import os
import pty
import struct
import sys
import termios


def arguments():
    words = sys.argv[1:]
    columns, lines, sends = int(words[0]), int(words[1]), []
    words = words[2:]
    while words[0] == "--send":
        sends.append((words[1].encode(), words[2].encode().decode("unicode_escape").encode("latin-1")))
        words = words[3:]
    return columns, lines, sends, words[1:]


def relay(master, sends):
    written, at = b"", 0
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        written += piece
        os.write(1, piece)
        while sends and written.find(sends[0][0], at) >= 0:
            at = written.find(sends[0][0], at) + len(sends[0][0])
            os.write(master, sends.pop(0)[1])


def main():
    columns, lines, sends, command = arguments()
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.execvp(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    relay(master, sends)
    _, status = os.waitpid(pid, 0)
    sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


main()
