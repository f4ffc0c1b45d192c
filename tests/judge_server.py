"""A real HTTP server in the place of a judge, which does what a test tells it to, good or bad."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "sk-secret-0123456789"


def good(request):
    """A reply with a number, or a verdict, for whatever the request's schema or instructions ask for."""
    system = request["messages"][0]["content"]
    if '"better"' in system:
        return {"better": "A"}
    form = system.split("nothing else: {")[1].split("}")[0]
    length = len(request["messages"][-1]["content"])
    return {name.split('"')[1]: 1 + length % 4 for name in form.split(", ")}


def completion(content, model="judge-2024-01-01"):
    return {
        "model": model,
        "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


class Judge:
    """What the server was asked, and how it answers.

    Args:
        behave: what to do with each request, one after the other; then it is good. Each is a text (the reply), an int
            (a status), a tuple (status, headers, body), a function of the request that returns one of these, or one of
            `half`, `empty`, `cut`, `silent`.
    """

    def __init__(self, *behave):
        self.behave = list(behave)
        self.always = lambda request: json.dumps(good(request))
        self.requests = []
        self.headers = []
        self.times = []
        self.lock = threading.Lock()
        self.open = threading.Event()
        self.url = ""

    def answer(self, handler, request):
        with self.lock:
            self.requests.append(request)
            self.headers.append(dict(handler.headers))
            self.times.append(time.monotonic())
            act = self.behave.pop(0) if self.behave else self.always
        act = act(request) if callable(act) else act
        if act == "cut":
            handler.connection.close()
        elif act == "half":
            body = json.dumps(completion("{}")).encode()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[: len(body) // 2])
        elif act == "silent":
            self.open.wait(20)
            handler.close_connection = True
        elif act == "empty":
            send(handler, 200, {}, b"")
        elif isinstance(act, int):
            send(handler, act, {}, json.dumps({"error": {"message": f"status {act}, Bearer {TOKEN}"}}).encode())
        elif isinstance(act, tuple):
            send(handler, *act)
        else:
            send(handler, 200, {}, json.dumps(completion(act)).encode())


def send(handler, status, headers, body):
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(judge):
    """The judge at `judge.url`, for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            judge.answer(self, json.loads(self.rfile.read(length)))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    judge.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        judge.open.set()
        server.shutdown()
        server.server_close()
