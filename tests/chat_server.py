"""A server of chat/completions for tests, which misbehaves where it is told to, and a judge that asks it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from metareward.engines.common.interface import Request, Sampling
from metareward.engines.judges import load_judge
from metareward.load_params import load_params
from metareward.params import BenchmarkJudge, JudgeEndpoint

ROOT = Path(__file__).parents[1]
PARAMS = load_params(ROOT / "profiles/tiny.yaml")
WHERE = "benchmarks.arena_hard.judge"
GPT = "gpt-4-1106-preview"


def chat_answer(text, **choice):
    """The body of an answer, as OpenAI writes it; choice: other fields of its choice."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": len((text or "").split()), "total_tokens": 9}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}], "usage": usage}


def echo(body):
    """The last message, in capitals."""
    return chat_answer(body["messages"][-1]["content"].upper())


def refusal(status, message, **error):
    """A fault: an HTTP error with a body as OpenAI writes it."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | error}


DROP = "drop"  # a fault: the connection ends in the middle of an answer


class ChatServer:
    """Inside `with`, a server on loopback. asked: the bodies that came, in order; keys: what stood in Authorization.

    answer: from a body to the body of the answer. fault: from a body, and how often it has come, to what is answered
    instead: (status, body, dict or text), (status, body, headers), DROP, or None. seconds: that an answer takes.
    listing: what the list of models gives; many servers have none.
    """

    def __init__(self, answer=echo, fault=lambda body, times: None, seconds=0.0):
        self.answer, self.fault, self.seconds = answer, fault, seconds
        self.asked, self.keys = [], set()
        self.listing = 404, {"detail": "Not Found"}
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._send(*server.listing)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    times = server.asked.count(body)
                    server.asked.append(body)
                    server.keys.add(self.headers["Authorization"])
                time.sleep(server.seconds)
                fault = server.fault(body, times)
                if fault == DROP:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"choices": [{"ind')
                    self.wfile.flush()
                    self.close_connection = True
                elif fault:
                    self._send(*fault)
                elif self.path != "/v1/chat/completions":
                    self._send(404, {"detail": f"no {self.path}"})
                else:
                    self._send(200, server.answer(body))

            def _send(self, status, body, headers=()):
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **dict(headers)}.items():
                    self.send_header(name, value)
                self.send_header("retry-after-ms", "5")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def texts(self):
        """The last messages of what was asked."""
        return [body["messages"][-1]["content"] for body in self.asked]


def some_of(faults):
    """Each text's faults in turn, then answers."""
    return lambda body, times: dict(enumerate(faults.get(body["messages"][-1]["content"], []))).get(times)


def top(**tokens):
    likeliest = [{"token": token, "logprob": logprob} for token, logprob in tokens.items()]
    return {"content": [{"token": "x", "logprob": 0.0, "top_logprobs": likeliest}]}


def ask(name, text="one two", n=1, first=0, max_tokens=16, temperature=0.0, top_p=1.0):
    messages = [{"role": "user", "content": text}]
    return Request(name, messages, n, Sampling(temperature, top_p, max_tokens), 1, first)


def judge(model=GPT, engine="openai", logprobs=True):
    return BenchmarkJudge(engine=engine, model=model, logprobs=logprobs)


def resources(url, key=None, concurrency=4, wait_hours=0.0):
    judges = {GPT: JudgeEndpoint(base_url=url, key=key)}
    return PARAMS.resources.model_copy(update={"judges": judges, "concurrency": concurrency, "wait_hours": wait_hours})


def at(url, folder, **settings):
    """The judge at an endpoint, with its journals in a folder."""
    params = PARAMS.model_copy(update={"resources": resources(url, **settings)})
    return load_judge(judge(), params, folder / ".work/grade@m1", "grade", WHERE)
