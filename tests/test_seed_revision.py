"""A seed model of the hub is pinned by its commit, against a small hub of ours."""

import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metareward.errors import UserError
from metareward.inputs.seed_model import check_seed_model, unpinned

HUB_ID, OLD, NEW = "someone/model", "a" * 40, "b" * 40
SAVE = """
import sys
from pathlib import Path
from metareward.errors import UserError
from metareward.inputs.seed_model import save_seed_model
try:
    save_seed_model("someone/model", Path(sys.argv[1]), sys.argv[2] or None)
except UserError as error:
    sys.exit(str(error))
"""


class Hub(BaseHTTPRequestHandler):
    """Two commits of one model, main being the new one; they differ in a number of config.json."""

    def __init__(self, folder: Path, *rest) -> None:
        self.folder = folder
        super().__init__(*rest)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        api = self.path.startswith(f"/api/models/{HUB_ID}/")
        _, commit, *file = self.path.split("?")[0].split(f"{HUB_ID}/")[1].split("/")
        commit = {"main": NEW}.get(commit, commit)
        if not api:
            content = (self.folder / file[0]).read_bytes()
            if file[0] == "config.json":
                content = json.dumps(json.loads(content) | {"commit": commit}).encode()
        elif "/tree/" in self.path:
            files = [(path.name, path.stat().st_size) for path in self.folder.iterdir()]
            content = json.dumps([{"type": "file", "path": name, "size": size, "oid": name} for name, size in files])
        else:
            siblings = [{"rfilename": path.name} for path in self.folder.iterdir()]
            content = json.dumps({"id": HUB_ID, "sha": commit, "siblings": siblings})
        content = content.encode() if isinstance(content, str) else content
        self.send_response(200 if commit in (OLD, NEW) else 404)
        if commit not in (OLD, NEW):
            self.send_header("X-Error-Code", "RevisionNotFound")
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def hub(tiny_model):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Hub, tiny_model))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def save(hub, out, revision):
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(out.parent / "hub"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", SAVE, str(out), revision or ""]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_commit_that_params_name_is_downloaded(hub, tmp_path):
    for revision, expected in ((OLD, OLD), (None, NEW)):
        result = save(hub, tmp_path / "seed", revision)
        assert result.returncode == 0, result.stderr
        assert json.loads((tmp_path / "seed/config.json").read_text())["commit"] == expected
    result = save(hub, tmp_path / "seed", "c" * 40)
    (line,) = result.stderr.strip().splitlines()[-1:]
    assert line.startswith(f"{HUB_ID} at '{'c' * 40}' cannot be downloaded: ")
    assert line.endswith("(params.yaml: seed_model, seed_revision)")


def test_a_hub_seed_without_a_commit_is_warned_of(tiny_model):
    assert "seed_revision is null: someone/model is whatever the hub has" in unpinned(HUB_ID, None)
    assert "seed_revision is 'main', a name that can move" in unpinned(HUB_ID, "main")
    assert unpinned(HUB_ID, OLD) is None
    assert unpinned("embedded", None) is None
    assert unpinned(str(tiny_model), None) is None


def test_only_the_hub_has_revisions(tiny_model):
    check_seed_model(HUB_ID, revision=OLD)
    for source in ("embedded", str(tiny_model)):
        with pytest.raises(UserError, match=r"which is not on the hub .* \(params.yaml: seed_revision\)$"):
            check_seed_model(source, revision=OLD)
