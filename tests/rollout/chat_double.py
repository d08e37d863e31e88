"""A small server of chat completions, on loopback, whose answers a test writes."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "parrot"


class Chat:
    """What was asked, and who answers.

    Attributes:
      url: Its address, with the version.
      requests: Headers and bodies of the completions, in order.
    """

    def __init__(self, answer):
        """Answer with `answer(body, number of the request)`: a status and JSON."""
        self.answer, self.requests, self.url = answer, [], ""
        self.lock = threading.Lock()


def said(content=None, *calls, usage=(0, 0)):
    """A completion: text, and calls as (id, name, arguments as text)."""
    tools = [
        {"id": i, "type": "function", "function": {"name": n, "arguments": a}}
        for i, n, a in calls
    ]
    message = {"role": "assistant", "content": content}
    message |= {"tool_calls": tools} if tools else {}
    counted = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))
    return 200, {"choices": [{"index": 0, "message": message}], "usage": counted}


@contextlib.contextmanager
def chatting(answer):
    """Run the server while the block runs."""
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.give(200, {"object": "list", "data": [{"id": MODEL}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with chat.lock:
                number = len(chat.requests)
                chat.requests.append((self.path, dict(self.headers), body))
            self.give(*chat.answer(body, number))

        def give(self, status, answer):
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(sent)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
