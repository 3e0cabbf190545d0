"""An API server on the loopback that answers with what a real one was recorded to answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Exchange = Mapping[str, Any]

NOT_RECORDED = 599


def exchanges(folder: Path, *names: str) -> list[Exchange]:
    """What the files of these names hold."""
    return [exchange for name in names for exchange in json.loads((folder / f"{name}.json").read_text("utf-8"))]


@contextmanager
def serving(recorded: Iterable[Exchange]) -> Iterator[tuple[str, list[str]]]:
    """The server's address, and the requests that no recording answers (those get a status that no API server has)."""
    known = list(recorded)
    strange: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            found = next((e["response"] for e in known if _same(e["request"], self.command, self.path, body)), None)
            if found is None:
                strange.append(f"{self.command} {self.path}")
            status = found["status"] if found else NOT_RECORDED
            content = found["body"] if found else {}
            text = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Type", (found or {}).get("contentType") or "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = _answer  # noqa: N815 - the names that the base class calls

        def log_message(self, *_: object) -> None:
            """Nothing: the tests say what went wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", strange
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _same(recorded: Mapping[str, Any], method: str, target: str, body: object) -> bool:
    asked, known = urlsplit(target), urlsplit(recorded["path"])
    return (
        recorded["method"] == method
        and known.path == asked.path
        and sorted(parse_qsl(known.query)) == sorted(parse_qsl(asked.query))
        and recorded.get("body") == body
    )


def kubeconfig(address: str) -> str:
    """A kubeconfig for the server."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "recorded", "cluster": {"server": address}}],
            "users": [{"name": "tester", "user": {"token": "recorded"}}],
            "contexts": [{"name": "recorded", "context": {"cluster": "recorded", "user": "tester"}}],
            "current-context": "recorded",
        }
    )
