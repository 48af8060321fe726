"""Copies of the project side by side: each runs its own code, and what they share they do not spoil for one another."""

import polars as pl
import pytest
import yaml

from pipeline import ROOT, Clone

EDITED = "prompts of the edited copy"
TABLE = "data/iterations/m1/prompts.parquet"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with the tiny profile in which git has every input, as experiments in copies need it."""
    clone = Clone(tmp_path_factory.mktemp("experiments"))
    clone.use_tiny_profile()
    clone.run("git add --force tiny")
    clone.commit("the inputs")
    return clone


def edit(folder):
    """Change what the stage `prompts` writes into the column `source`."""
    module = folder / "src/metareward/inputs/pool.py"
    text = module.read_text()
    module.write_text(
        text.replace('{"category": path.stem}', f'{{"category": "{EDITED}"}}').replace(
            'str(row["category"])', f'"{EDITED}"'
        )
    )
    assert module.read_text() != text


def sources(clone, experiment):
    """The column `source` of the table that an experiment wrote."""
    lock = yaml.safe_load(
        clone.run(f"dvc exp branch --quiet {experiment} of-{experiment} && git show of-{experiment}:dvc.lock")
    )
    (out,) = lock["stages"]["prompts@m1"]["outs"]
    cached = clone.folder / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]
    return set(pl.read_parquet(cached)["source"])


def test_an_experiment_runs_the_code_of_its_own_copy_and_not_what_is_installed(clone, monkeypatch):
    """`import metareward` means this project's src (as an editable install does), and the experiment's is edited."""
    edit(clone.folder)
    monkeypatch.setattr(clone, "environment", lambda: Clone.environment(clone) | {"PYTHONPATH": str(ROOT / "src")})
    clone.run("dvc exp run --temp --name temp prompts@m1")
    clone.run("dvc exp run --queue --name queue prompts@m1 && git checkout --quiet src")
    assert "edited" not in (clone.folder / "src/metareward/inputs/pool.py").read_text()
    clone.run("dvc exp run --run-all")
    clone.run("dvc exp run --temp --name unedited prompts@m1")
    assert sources(clone, "temp") == sources(clone, "queue") == {EDITED}
    assert EDITED not in sources(clone, "unedited")


def test_a_worktree_runs_its_own_code_and_says_so_where_it_cannot(clone, monkeypatch):
    clone.run("git worktree add --quiet -b other '../a worktree'")
    other = clone.folder.parent / "a worktree"
    edit(other)
    installed = {"PYTHONPATH": str(ROOT / "src")}
    monkeypatch.setattr(clone, "environment", lambda: Clone.environment(clone) | installed)
    clone.run("cd '../a worktree' && python stages/prompts.py m1")
    assert set(pl.read_parquet(other / TABLE)["source"]) == {EDITED}

    refused = clone.run("cd '../a worktree' && PYTHONSAFEPATH=1 python stages/prompts.py m1", returncode=2)
    assert f"error: this is the code of {ROOT}, not of {other}" in refused
    assert f"warning: this is the code of {ROOT}, not of {other}" in clone.run(
        "cd '../a worktree' && metareward profile"
    )
    assert "warning" not in clone.run("cd /tmp && metareward --help")  # no copy of the project is there
