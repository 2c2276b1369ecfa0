"""mailbox.py DIRECTORY [CERTIFICATE KEY [USER:PASSWORD]] - a real mail server (aiosmtpd) that keeps what it gets.

Each message becomes DIRECTORY/N.json: its envelope, and its bytes as latin-1. Prints its port. With a certificate it
offers STARTTLS, with a user it wants a login. Ends when standard input is closed.
"""
import asyncio
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

directory = sys.argv[1]
certificate = sys.argv[2:4]
user = sys.argv[4] if len(sys.argv) > 4 else None


class Keep:
    count = len(os.listdir(directory))

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        name = "%s/%d.json" % (directory, self.count)
        with open(name + ".new", "w", encoding="utf-8") as file:
            json.dump({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
                       "message": envelope.original_content.decode("latin-1")}, file)
        os.rename(name + ".new", name)
        return "250 2.0.0 kept"


def authenticate(server, session, envelope, mechanism, data):
    good = user == data.login.decode() + ":" + data.password.decode()
    return AuthResult(success=good)


options = {"data_size_limit": 1 << 26, "hostname": "mailbox.example"}
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    options["tls_context"] = context
if user:
    options.update(authenticator=authenticate, auth_required=True, auth_require_tls=bool(certificate))


async def main():
    loop = asyncio.get_running_loop()
    keep = Keep()
    server = await loop.create_server(lambda: SMTP(keep, loop=loop, **options), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
