"""A judge's endpoint on this machine, which answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dfc import config
from dfc.config import JudgeConfig
from dfc.runs import Run

Answer = tuple[int, dict[str, str], bytes]


class Endpoint(ThreadingHTTPServer):
    """Keeps what it is asked, and answers what `answer` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str | None, Any]] = []
        self.answer: Callable[[Any], Answer] = lambda body: says("5")
        self.fields: dict[str, str] = {}  # of the header of the last request
        self.seen = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_address[1]}/v1"

    def judge(self, **settings: Any) -> JudgeConfig:
        return JudgeConfig(model="m", criterion="how {much} is said", url=self.url, timeout=5.0, **settings)


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.seen:
            self.server.fields = {name.lower(): value for name, value in self.headers.items()}
            self.server.asked.append((self.path, self.headers.get("Authorization"), body))
            status, headers, content = self.server.answer(body)
        with suppress(ConnectionError):  # who asked may wait no longer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def says(content: Any, finish_reason: str = "stop", usage: Any = None) -> Answer:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return 200, {}, json.dumps({"choices": [choice], **({} if usage is None else {"usage": usage})}).encode()


def in_turn(*answers: Answer) -> Callable[[Any], Answer]:
    left = list(answers)
    return lambda body: left.pop(0)


@contextmanager
def serving() -> Iterator[Endpoint]:
    """The endpoint, while it serves."""
    with Endpoint() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def configure(run: Run, judge: JudgeConfig) -> None:
    """Name a judge in a run's settings."""
    settings = run.config().model_copy(update={"judge": judge})
    (run.path / "run.yaml").write_text(config.dump(settings), encoding="utf-8")
