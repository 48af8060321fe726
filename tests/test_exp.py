"""`metareward exp`: experiments as DVC records them, commits under refs/exps, with what changed and what came out."""

import json
import subprocess

import pytest

from metareward.cli.exp import exp, read_experiments
from metareward.errors import UserError

PARAMS = "rho: {rho}\ndpo: {{beta: {beta}}}\n"
INTERVAL = {"benchmark": "held_out", "other": None, "before": False, "n": 6}


class Repository:
    """A git repository of a project: `commit` and `experiment` take params and the value of each metric."""

    def __init__(self, root):
        self.root = root
        self.git("init", "--quiet", "--initial-branch=main")
        (root / "dvc.yaml").write_text("stages: {}\n")
        self.dates = iter(range(10, 60))

    def git(self, *arguments):
        date = f"2026-01-01T00:{next(self.dates)}:00Z" if "commit" in arguments else "2026-01-01T00:00:00Z"
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
        environment = {
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_DATE": date,
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.root),
        }
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=self.root, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def write(self, rho, beta, **metrics):
        (self.root / "params.yaml").write_text(PARAMS.format(rho=rho, beta=beta))
        held_out = {name: {"m1": 1.0, "m2": value} for name, (value, *_) in metrics.items()}
        (self.root / "metrics.json").write_text(json.dumps({"held_out": held_out}))
        rows = [
            INTERVAL
            | {"checkpoint": "m2", "metric": name.partition("_by_")[0], "referee": name.partition("_by_")[2] or None}
            | {"value": value, "ci_low": low, "ci_high": high}
            for name, (value, low, high) in metrics.items()
        ]
        (self.root / "plots").mkdir(exist_ok=True)
        (self.root / "plots/intervals.json").write_text(json.dumps(rows))

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD").strip()

    def experiment(self, name, base, rho, beta, **metrics):
        self.write(rho, beta, **metrics)
        commit = self.commit()
        self.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", commit)
        self.git("reset", "--quiet", "--hard", base)


METRICS = {"response_chars": (200.4, None, None), "win_rate_by_sft": (0.5, 0.25, 0.75), "spearman": (-0.1, -0.5, 0.4)}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A commit with two experiments, and a changed param in the working tree."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    repository = Repository(tmp_path)
    repository.write("schedule", 0.1, **METRICS)
    base = repository.commit()
    repository.experiment("b-first", base, 0.0, 0.1, **METRICS | {"win_rate_by_sft": (0.625, 0.5, 0.75)})
    repository.experiment("a-second", base, 1.0, 0.2, **METRICS)
    repository.write("schedule", 0.3, **METRICS)
    return repository, base


def test_experiments_with_what_changed_and_what_came_out(repository):
    _, base = repository
    here, first, second = read_experiments(repository[0].root)
    assert [one["name"] for one in (here, first, second)] == ["workspace", "b-first", "a-second"]  # by date
    assert [one["from"] for one in (here, first, second)] == [base] * 3
    assert here["changed"] == {"dpo.beta": ["0.1", "0.3"]}
    assert first["changed"] == {"rho": ["schedule", "0.0"]}
    assert second["changed"] == {"rho": ["schedule", "1.0"], "dpo.beta": ["0.1", "0.2"]}
    assert first["checkpoint"] == "m2"
    assert first["metrics"]["win_rate_by_sft"] == [0.625, 0.5, 0.75]
    assert first["metrics"]["response_chars"] == [200.4, None, None]
    assert first["date"] == "2026-01-01T00:11:00Z" or first["date"].startswith("2026-01-01T00:11:00")
    assert here["date"] is None


def test_an_experiment_is_compared_with_the_commit_that_it_began_from(repository):
    """Not with the present one."""
    clone, _ = repository
    clone.write(0.4, 0.1, **METRICS)
    later = clone.commit()
    clone.experiment("third", later, 0.4, 0.5, **METRICS)
    third = read_experiments(clone.root)[-1]
    assert third["from"] == later
    assert third["changed"] == {"dpo.beta": ["0.1", "0.5"]}


@pytest.mark.parametrize("columns", ["80", "120"])
def test_what_is_printed_fits_the_terminal(repository, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    exp(as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    (row,) = [line for line in lines if line.startswith("b-first ") and "[" in line]
    assert row.split() == ["b-first", "m2", ".62", "[.50", ".75]", "-", "-.10", "[-.50", ".40]", "200"]
    (said,) = [line for line in lines if line.startswith("b-first (")]
    assert said == f"b-first (2026-01-01 00:11, from {repository[1][:7]}): rho=0.0 (was schedule)"


def test_json_is_what_was_read(repository, capsys):
    exp(as_json=True)
    assert json.loads(capsys.readouterr().out) == read_experiments(repository[0].root)


def test_a_run_without_metrics_and_a_clone_without_experiments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    clone = Repository(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS.format(rho=0, beta=1))
    clone.commit()
    (row,) = read_experiments(tmp_path)
    assert (row["checkpoint"], row["metrics"], row["changed"]) == (None, {}, {})
    exp(as_json=False)
    assert "There are no experiments in this clone." in capsys.readouterr().out


def test_metrics_that_are_none_are_named(repository):
    (repository[0].root / "metrics.json").write_text("[]")
    with pytest.raises(UserError, match=r"metrics\.json of workspace is not what a run writes"):
        read_experiments(repository[0].root)
