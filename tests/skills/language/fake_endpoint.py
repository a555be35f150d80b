"""A chat completions endpoint that behaves as its path says; run as a process of its own.

``python fake_endpoint.py LOG`` prints its port. A request to ``/MODE/ANYTHING/chat/completions`` is answered as MODE
says. Redirects lead to a second server. Every request to either is appended to LOG as a line of JSON.
"""

import contextlib
import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PICK = {"prompt": "Pick up the Bowl.", "kind": "pick", "events": 1}
PLACE = {"prompt": "place the bowl on the plate", "kind": "place", "events": 1}
SAID = {
    "good": json.dumps({"steps": [PICK, PLACE]}),
    "prose": "Sure! First the robot picks up the bowl, then it places it on the plate.",
    "chatty": "Here you are:\n" + json.dumps({"steps": [PICK, PLACE]}),
    "step-too-many": json.dumps({"steps": [PICK, PLACE, PICK, PLACE]}),
    "invented-event": json.dumps({"steps": [PICK, {**PLACE, "events": 7}]}),
    "frames": json.dumps({"steps": [{**PICK, "start_frame": 12}, PLACE]}),
    "blank": "   ",
}
STATUS = {
    "bad-request": 400, "unauthorised": 401, "no-credit": 402, "forbidden": 403, "not-found": 404, "broken": 500,
    "overloaded": 503,
}  # fmt: skip
USAGE = {"prompt_tokens": 700, "completion_tokens": 60, "total_tokens": 760, "prompt_cache_hit_tokens": 500}

log_lock = threading.Lock()
seen: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    where = "endpoint"
    other_port = 0

    def do_GET(self) -> None:
        self.record(b"")
        self.reply(200, b"{}")

    def do_POST(self) -> None:
        self.record(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        mode = self.path.split("/")[1]
        with log_lock:
            seen[self.path] += 1
            first = seen[self.path] == 1
        if mode in SAID:
            self.say(SAID[mode])
        elif mode in STATUS:
            self.fault(STATUS[mode], f"no, says {mode} to {self.headers.get('Authorization')}")
        else:
            getattr(self, mode.replace("-", "_"))(first)

    def slow(self, first: bool) -> None:
        time.sleep(0.5)
        self.say(SAID["good"])

    def hang(self, first: bool) -> None:
        time.sleep(20)

    def blank_lines_for_ever(self, first: bool) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"\n")
            time.sleep(0.05)
        self.close_connection = True

    def blank_lines_first(self, first: bool) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(5):
            self.wfile.write(b"\n")
            time.sleep(0.1)
        self.wfile.write(completion(SAID["good"]))
        self.close_connection = True

    def busy_once(self, first: bool) -> None:
        if first:
            self.fault(429, "too many requests", {"Retry-After": "1"})
        else:
            self.say(SAID["good"])

    def busy_for_an_hour(self, first: bool) -> None:
        self.fault(429, "too many requests", {"Retry-After": "3600"})

    def broken_once(self, first: bool) -> None:
        self.say(SAID["good"]) if not first else self.fault(500, "oops")

    def blank_once(self, first: bool) -> None:
        self.say(SAID["blank"] if first else SAID["good"])

    def cut_off(self, first: bool) -> None:
        self.say('{"steps": [{"prompt": "pick', finish="length")

    def thinks_too_long(self, first: bool) -> None:
        self.say("", finish="length")

    def malformed(self, first: bool) -> None:
        self.reply(200, b"<html>Welcome to the gateway</html>")

    def breaks_off(self, first: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.close_connection = True

    def endless(self, first: bool) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):  # the reader has had enough
            while True:
                self.wfile.write(b"x" * (1 << 16))
        self.close_connection = True

    def repeats_key(self, first: bool) -> None:
        self.say(f"Your key is {self.headers['Authorization']}")

    def redirect(self, first: bool) -> None:
        self.reply(307, b"", {"Location": f"http://127.0.0.1:{self.other_port}/good/x/chat/completions"})

    def redirect_get(self, first: bool) -> None:
        self.reply(302, b"", {"Location": f"http://127.0.0.1:{self.other_port}/good/x/chat/completions"})

    def say(self, text: str, finish: str = "stop") -> None:
        self.reply(200, completion(text, finish))

    def fault(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self.reply(status, json.dumps({"error": {"message": message}}).encode(), headers)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def record(self, body: bytes) -> None:
        line = {"where": self.where, "path": self.path, "headers": dict(self.headers), "body": body.decode()}
        with log_lock, open(sys.argv[1], "a") as log:
            log.write(json.dumps(line) + "\n")

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


class Other(Handler):
    where = "other"


def completion(text: str, finish: str = "stop") -> bytes:
    message = {"role": "assistant", "reasoning_content": "The bowl is grasped first.", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def main() -> None:
    other = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    Handler.other_port = other.server_address[1]
    endpoint = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(endpoint.server_address[1], flush=True)
    endpoint.serve_forever()


if __name__ == "__main__":
    main()
