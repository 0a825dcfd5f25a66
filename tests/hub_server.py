"""A stand-in for the hub: repositories in memory, behind the part of its HTTP interface that runs need."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Repositories = dict[str, dict[str, bytes]]


@contextmanager
def serving(repositories: Repositories, visibility: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of these repositories, and the paths that are asked for; notes who may read new ones."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/revision/[\w.-]+)?(?:\?.*)?", self.path):
                files = repositories.get(found[1])
                siblings = [{"rfilename": name} for name in files or ()]
                self.answer(
                    None if files is None else {"id": found[1], "sha": COMMIT, "siblings": siblings, "tags": []}
                )
            elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/tree/.*", self.path):
                files = repositories[found[1]]
                self.answer(
                    [
                        {"type": "file", "path": name, "size": len(content), "oid": digest(content)}
                        for name, content in files.items()
                    ]
                )
            else:
                self.file()

        def do_HEAD(self) -> None:
            self.file()

        def do_POST(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/repos/create":
                wanted = json.loads(body)
                name = f"{wanted['organization']}/{wanted['name']}"
                if wanted["organization"] == "others":
                    self.answer(None, 403)
                    return
                private = wanted.get("private", wanted.get("visibility") == "private")  # by the library's version
                visibility.setdefault(name, "private" if private else "public")
                repositories.setdefault(name, {})
                self.answer({"url": f"{address}/{name}"})
                return
            if self.path == "/api/validate-yaml":  # of the card
                self.answer({"warnings": [], "errors": []})
                return
            found = re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/(preupload|commit)/[\w.-]+", self.path)
            assert found is not None, self.path
            if found[2] == "preupload":
                files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                         for file in json.loads(body)["files"]]  # fmt: skip
                self.answer({"files": files})
                return
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    repositories[found[1]][line["value"]["path"]] = content
                elif line["key"] == "deletedFile":
                    del repositories[found[1]][line["value"]["path"]]
            self.answer({"commitUrl": f"{address}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT})

        def file(self) -> None:
            found = re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/[\w.-]+/(.*)", self.path)
            content = repositories.get(found[1], {}).get(found[2]) if found else None
            if content is None:
                self.answer(None)
                return
            self.send_response(200)
            for name, value in (("ETag", f'"{digest(content)}"'), ("X-Repo-Commit", COMMIT)):
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def answer(self, value: Any, wrong: int = 404) -> None:
            body = json.dumps(value).encode() if value is not None else b""
            self.send_response(200 if value is not None else wrong)
            if value is None and wrong == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield address, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class Hub:
    """A hub on this machine."""

    def __init__(self) -> None:
        self.repositories: Repositories = {}
        self.visibility: dict[str, str] = {}
        self.asked: list[str] = []


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the library takes for the real one, with an empty cache."""
    from huggingface_hub import constants

    there = Hub()
    with serving(there.repositories, there.visibility) as (address, there.asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield there
