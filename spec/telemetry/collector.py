"""A collector for specs: takes OTLP over HTTP as JSON, checks its form, and writes each span as a line of JSON to a file.

collector.py OUT [STATUS [DELAY]]: prints its port; answers STATUS after DELAY seconds; ends with its input."""
import http.server
import json
import re
import sys
import threading
import time

out, status, delay = sys.argv[1], int((sys.argv + ["200"])[2]), float((sys.argv + ["", "0"])[3] if len(sys.argv) > 3 else 0)
lock = threading.Lock()


def check(span):
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and int(span["traceId"], 16), span
    assert re.fullmatch("[0-9a-f]{16}", span["spanId"]) and int(span["spanId"], 16), span
    assert "parentSpanId" not in span or re.fullmatch("[0-9a-f]{16}", span["parentSpanId"]), span
    assert span["name"] and 1 <= span["kind"] <= 5, span
    assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]) > 0, span
    for item in span["attributes"]:
        assert len(item["value"]) == 1, item
    for event in span["events"]:
        assert int(event["timeUnixNano"]) > 0 and event["name"], event
    for link in span["links"]:
        assert re.fullmatch("[0-9a-f]{32}", link["traceId"]) and re.fullmatch("[0-9a-f]{16}", link["spanId"]), link


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(delay)
        code = status
        try:
            assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
            with lock, open(out, "a") as file:
                for resource in json.loads(body)["resourceSpans"]:
                    names = {item["key"]: item["value"] for item in resource["resource"]["attributes"]}
                    for scope in resource["scopeSpans"]:
                        for span in scope["spans"]:
                            check(span)
                            span["service"] = names["service.name"]["stringValue"]
                            file.write(json.dumps(span) + "\n")
        except Exception as problem:  # a spec looks for it
            code = 400
            with lock, open(out, "a") as file:
                file.write(json.dumps({"problem": repr(problem)}) + "\n")
        self.send_response(code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
