"""`metareward sql --rev`: tables where DVC's cache has them, by a dvc.lock that git has; nothing is checked out."""

import hashlib
import json
import shutil
import subprocess

import polars as pl
import pytest
import yaml

from metareward.errors import UserError
from metareward.query import connect
from metareward.tables import empty_table, table_of, write_table


def git(root, *arguments):
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def cache(root, path):
    """Put a file into DVC's cache, as DVC does; its hash."""
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    place = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)
    return md5


def commit(root, text, drop=()):
    """Commit a run of one prompt and an empty table in a folder that is an output."""
    prompts, folder = root / "data/iterations/m1/prompts.parquet", root / "data/evaluations/m1"
    write_table(table_of([{"prompt_id": "p", "prompt": text, "source": "x"}], "prompts"), prompts, "prompts")
    pl.read_parquet(prompts).drop(drop).write_parquet(prompts)
    write_table(empty_table("responses"), folder / "responses.parquet", "responses")
    listed = root / "listed"
    md5 = cache(root, folder / "responses.parquet")
    listed.write_text(json.dumps([{"md5": md5, "relpath": "responses.parquet"}]))
    outs = [
        {"path": "data/iterations/m1/prompts.parquet", "hash": "md5", "md5": cache(root, prompts)},
        {"path": "data/evaluations/m1", "hash": "md5", "md5": cache(root, listed) + ".dir"},
    ]
    place = root / ".dvc/cache/files/md5" / outs[1]["md5"][:2] / outs[1]["md5"][2:-4]
    place.rename(f"{place}.dir")
    lock = {"schema": "2.0", "stages": {"make": {"cmd": "x", "deps": [{"path": "outs:", "md5": "0"}], "outs": outs}}}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    (root / "params.yaml").write_text(f"text: {text}\n")
    git(root, "add", "dvc.lock", "dvc.yaml", "params.yaml")
    git(root, "commit", "--quiet", "--message", text)
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two commits (the first is tagged v1 and lacks a column), an experiment on the second, and a third text here."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "config", "user.name", "Tester")
    git(tmp_path, "config", "user.email", "tester@example.org")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    commit(tmp_path, "first", drop=["source"])
    git(tmp_path, "tag", "v1")
    second = commit(tmp_path, "second")
    tried = commit(tmp_path, "tried")
    git(tmp_path, "update-ref", f"refs/exps/{second[:2]}/{second[2:]}/bold-try", tried)
    git(tmp_path, "update-ref", "refs/exps/exec/EXEC_HEAD", tried)
    git(tmp_path, "reset", "--quiet", "--hard", second)
    frame = table_of([{"prompt_id": "p", "prompt": "here", "source": "x"}], "prompts")
    write_table(frame, tmp_path / "data/iterations/m1/prompts.parquet", "prompts")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    return tmp_path


def texts(*revs, **options):
    return dict(connect(revs, **options).execute("SELECT rev, prompt FROM prompts").fetchall())


def test_a_revision_is_named_as_git_and_dvc_name_it(root):
    assert texts() == {"workspace": "here"}
    assert texts("HEAD", "main") == {"HEAD": "second", "main": "second"}
    short = git(root, "rev-parse", "--short", "HEAD")
    assert texts(short, "bold-try", "workspace") == {short: "second", "bold-try": "tried", "workspace": "here"}
    assert texts(experiments=True) == {"bold-try": "tried", "workspace": "here"}
    assert texts("HEAD", experiments=True) == {"bold-try": "tried", "HEAD": "second"}
    assert connect(["HEAD"]).execute("SELECT value FROM params").fetchall() == [("second",)]
    for name in ("nope", "--all", "", "HEAD:params.yaml"):
        with pytest.raises(UserError, match="is no git revision and no experiment of this clone"):
            connect([name])


def test_nothing_is_checked_out(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    texts("v1", "HEAD", "bold-try")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.filterwarnings("ignore")
def test_a_revision_from_before_a_column_has_null_there(root):
    with pytest.warns(UserWarning, match=r"v1 is from before these columns, .*: prompts\.source"):
        connection = connect(["v1", "HEAD"])
    assert dict(connection.execute("SELECT rev, source FROM prompts").fetchall()) == {"v1": None, "HEAD": "x"}


@pytest.mark.filterwarnings("ignore")
def test_what_only_the_remote_has_is_named_with_the_command_that_brings_it(root):
    assert connect(["HEAD"]).execute("SELECT count(*) FROM held_out_responses").fetchone() == (0,)
    shutil.rmtree(root / ".dvc/cache")
    connection = connect(["HEAD", "bold-try", "workspace"])
    assert connection.execute("SELECT prompt FROM prompts WHERE rev = 'workspace'").fetchall() == [("here",)]
    for table in ("prompts", "held_out_responses"):
        with pytest.raises(
            Exception, match=f"{table.split('_')[-1]}.parquet of HEAD is not .*: dvc fetch --all-commits"
        ):
            connection.execute(f"SELECT count(*) FROM {table} WHERE rev = 'HEAD'").fetchall()
    with pytest.raises(Exception, match="dvc exp pull --force origin bold-try"):
        connection.execute("FROM prompts WHERE rev = 'bold-try'").fetchall()
