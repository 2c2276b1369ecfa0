"""watchers.py PORT TOKEN PAGES: as many open pages as a browser would have them, and a scrape of /metrics a second.

Each page holds a stream of events and, when that tells of a change, asks what it shows anew, as pages/assets/server.js
does: not before 0.9 s have passed, nor before ten times as long as the last answer took. Ends with its standard input.
Prints how many answers came, and the mean of their times in milliseconds.
"""

import http.client
import json
import sys
import threading
import time

PORT, TOKEN, PAGES = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
HEADERS, BEARER = {}, {"Authorization": "Bearer " + TOKEN}
API = "/_ah/pipeline/api/"
answers, over = [], threading.Event()


def fetch(connection, path, headers=HEADERS):
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    if reply.status != 200:
        raise RuntimeError("%s: %d" % (path, reply.status))
    return reply.getheader("x-pipeline-again"), body


def sign_in():
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    headers = {"Origin": "http://127.0.0.1:%d" % PORT, "Content-Type": "application/json"}
    connection.request("POST", API + "sign-in", json.dumps({"token": TOKEN}), headers)
    reply = connection.getresponse()
    reply.read()
    return reply.getheader("set-cookie").split(";")[0]


class Question(threading.Thread):
    """Asks for one path whenever it is told to."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.dirty = path, threading.Event()
        self.dirty.set()

    def refresh_later(self, seconds):
        timer = threading.Timer(seconds + 0.05, self.dirty.set)
        timer.daemon = True
        timer.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        while not over.is_set():
            self.dirty.wait()
            self.dirty.clear()
            began = time.monotonic()
            try:
                again, _ = fetch(connection, self.path)
            except (OSError, http.client.HTTPException):
                return
            took = time.monotonic() - began
            answers.append(took)
            if again:
                self.refresh_later(float(again))
            time.sleep(max(0.9, 10 * took))


def listen(questions):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=600)
    connection.request("GET", API + "live", headers=HEADERS)
    stream = connection.getresponse()
    try:
        for line in stream:
            if line.startswith(b"event: change"):
                for question in questions:
                    question.dirty.set()
    except (OSError, http.client.HTTPException):
        pass


def scrape():
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    while not over.is_set():
        try:
            fetch(connection, "/metrics", BEARER)
        except (OSError, http.client.HTTPException):
            return
        time.sleep(1)


def main():
    HEADERS["Cookie"] = sign_in()
    first = json.loads(fetch(http.client.HTTPConnection("127.0.0.1", PORT), API + "pipelines?limit=1")[1])["items"][0]["id"]
    shows = [["home"], ["pipelines?limit=50", "counts"], ["tree?limit=300&id=" + first, "stage?id=" + first, "why?id=" + first]]
    for i in range(PAGES):
        questions = [Question(API + path) for path in shows[i % len(shows)]]
        for question in questions:
            question.start()
        threading.Thread(target=listen, args=(questions,), daemon=True).start()
    threading.Thread(target=scrape, daemon=True).start()
    sys.stdin.read()
    over.set()
    print("answers %d mean_ms %.1f" % (len(answers), 1000 * sum(answers) / max(1, len(answers))), flush=True)


main()
