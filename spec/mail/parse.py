"""parse.py DIRECTORY - reads every *.eml there with Python's email package and prints what it found as JSON by name.

A reader that has nothing to do with the encoder under test: what it decodes must be what was given.
"""
import email
import email.header
import email.policy
import email.utils
import json
import pathlib
import sys


def addresses(data, name):
    # Not by the default policy: before 3.13 it puts a space between encoded words of a name (gh-128110).
    found = email.message_from_bytes(data).get_all(name, [])
    pairs = email.utils.getaddresses(["".join(value.splitlines()) for value in found])
    return [[str(email.header.make_header(email.header.decode_header(shown))), spec] for shown, spec in pairs]


def part(message, kind):
    found = [p for p in message.walk() if p.get_content_type() == "text/" + kind]
    if len(found) > 1:
        raise ValueError("more than one part of text/" + kind)
    return found[0].get_payload(decode=True).decode("utf-8") if found else None


def defects(message):
    found = [str(d) for p in message.walk() for d in p.defects]
    for name, value in message.items():
        found += ["%s: %s" % (name, d) for d in getattr(value, "defects", ())]
    return found


def read(data):
    message = email.message_from_bytes(data, policy=email.policy.default)
    return {
        "names": message.keys(),
        "parts": [p.get_content_type() for p in message.walk()],
        "subject": message["subject"],
        "from": addresses(data, "from"),
        "to": addresses(data, "to"),
        "cc": addresses(data, "cc"),
        "reply_to": addresses(data, "reply-to"),
        "message_id": str(message["message-id"]).strip(),
        "seconds": message["date"].datetime.timestamp(),
        "note": message["x-note"],
        "body": part(message, "plain"),
        "html": part(message, "html"),
        "defects": defects(message),
    }


if __name__ == "__main__":
    result = {}
    for path in pathlib.Path(sys.argv[1]).glob("*.eml"):
        try:
            result[path.stem] = read(path.read_bytes())
        except Exception as problem:  # the spec shows it
            result[path.stem] = {"error": repr(problem)}
    json.dump(result, sys.stdout)
