"""hostile.py PLAN LOG - a mail server that does as the file PLAN says, and writes to LOG what came of each connection.

PLAN is read anew for each connection: a JSON object, in which everything may be left out:
  count     connections it is for; later ones are served well (the server counts anew when `number` is another)
  reply     {command: text} in place of the usual answer; commands: greeting EHLO HELO STARTTLS AUTH MAIL RCPT DATA
            body QUIT
  stall     command after which nothing is said any more
  drop      command after which the line is cut; "late": cut when 2000 bytes of a message have come
  pieces    seconds between the bytes of every answer
  tls       [certificate, key]: STARTTLS is offered;  implicit: the line begins encrypted
  auth      "user:password" that AUTH PLAIN must be;  ahead: text sent at once together with the answer to a command
            {command: text};  after_250: cut the line instead of answering QUIT
LOG has a JSON line for each connection when it ends: {commands, message, from, to, accepted, tls}.
Prints its port. Ends with its parent: when standard input is closed.
"""
import asyncio
import base64
import json
import os
import ssl
import sys

PLAN, LOG = sys.argv[1:3]
USUAL = {"greeting": "220 hostile ESMTP", "HELO": "250 hello", "STARTTLS": "220 go on", "AUTH": "235 welcome",
         "MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "DATA": "354 end with a dot", "body": "250 2.0.0 queued",
         "QUIT": "221 bye", "RSET": "250 ok", "NOOP": "250 ok"}
served = {"number": None, "count": 0}


class Gone(Exception):
    pass


def read_plan():
    with open(PLAN, encoding="utf-8") as file:
        plan = json.load(file)
    if plan.get("number") != served["number"]:
        served.update(number=plan.get("number"), count=0)
    served["count"] += 1
    return {k: plan[k] for k in ("tls", "implicit", "auth") if k in plan} \
        if served["count"] > plan.get("count", 1 << 60) else plan


class Session:
    def __init__(self, reader, writer, plan):
        self.reader, self.writer, self.plan = reader, writer, plan
        self.seen = {"commands": [], "message": None, "from": None, "to": [], "accepted": False, "tls": False}

    async def send(self, data):
        step = self.plan.get("pieces")
        if step is None:
            self.writer.write(data)
        else:
            for byte in data:  # no pause after the last: a TLS handshake may begin at once
                await asyncio.sleep(step)
                self.writer.write(bytes([byte]))
        await self.writer.drain()

    async def answer(self, command, usual=None):
        if self.plan.get("drop") == command:
            raise Gone
        if self.plan.get("stall") == command:
            await self.reader.read()  # until the other end gives up
            raise Gone
        text = self.plan.get("reply", {}).get(command) or usual or USUAL[command]
        ahead = self.plan.get("ahead", {}).get(command, "")
        await self.send((text + "\r\n" + ahead).encode())
        return text

    async def line(self):
        data = await self.reader.readline()
        if not data.endswith(b"\n"):
            raise Gone
        return data.decode("latin-1").rstrip("\r\n")

    def greeting(self):
        offers = ["hostile", "8BITMIME"]
        if self.plan.get("tls") and not self.seen["tls"]:
            offers.append("STARTTLS")
        if self.plan.get("auth"):
            offers.append("AUTH PLAIN")
        return "\r\n".join("250%s%s" % ("-" if i < len(offers) - 1 else " ", o) for i, o in enumerate(offers))

    async def encrypt(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.plan["tls"])
        await self.writer.start_tls(context)
        self.seen["tls"] = True

    async def body(self):
        lines, size = [], 0
        while True:
            data = await self.reader.readline()
            size += len(data)
            if not data.endswith(b"\n") or (self.plan.get("drop") == "late" and size > 2000):
                raise Gone
            if data == b".\r\n":
                break
            lines.append(data[1:] if data.startswith(b".") else data)
        self.seen["message"] = b"".join(lines).decode("latin-1")
        text = await self.answer("body")
        self.seen["accepted"] = text.startswith("250")
        if self.plan.get("after_250"):
            raise Gone

    async def command(self, line):
        word = line.split(" ")[0].upper()
        self.seen["commands"].append(word)
        if word == "EHLO":
            await self.answer("EHLO", self.greeting())
        elif word == "STARTTLS":
            if (await self.answer("STARTTLS")).startswith("220"):
                await self.encrypt()
        elif word == "AUTH":
            words = line.split(" ")
            if len(words) < 3:
                await self.send(b"334 \r\n")
                words.append(await self.line())
            given = base64.b64decode(words[2]).decode().split("\0")
            good = self.plan.get("auth") == given[1] + ":" + given[2]
            await self.answer("AUTH", None if good else "535 5.7.8 wrong name or password")
        elif word == "MAIL":
            self.seen["from"] = line[10:].strip("<>")
            await self.answer("MAIL")
        elif word == "RCPT":
            self.seen["to"].append(line[8:].strip("<>"))
            await self.answer("RCPT")
        elif word == "DATA":
            if (await self.answer("DATA")).startswith("354"):
                await self.body()
        else:
            await self.answer(word if word in USUAL else "NOOP")
            if word == "QUIT":
                raise Gone

    async def run(self):
        try:
            if self.plan.get("implicit"):
                await self.encrypt()
            await self.answer("greeting")
            while True:
                await self.command(await self.line())
        except (Gone, ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            self.writer.close()
            with open(LOG, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.seen) + "\n")


async def connected(reader, writer):
    await Session(reader, writer, read_plan()).run()


async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 26)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
