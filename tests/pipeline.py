"""A copy of the project to run the pipeline in, as a user with a fresh clone has it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


class Clone:
    """A git clone of the working tree under a path with a space; commands run with this Python first on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my clone"
        listed = _git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() or (ROOT / name).is_symlink():
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target, follow_symlinks=False)
        _git(self.folder, "init", "--quiet", "--initial-branch=main")
        _git(self.folder, "config", "user.name", "Tester")
        _git(self.folder, "config", "user.email", "tester@example.org")
        self.commit("the project")

    @classmethod
    def at(cls, folder: Path) -> "Clone":
        """A clone that was made in another way."""
        clone = cls.__new__(cls)
        clone.folder = folder
        return clone

    @classmethod
    def copy_of(cls, made: Path, folder: Path) -> "Clone":
        """A copy of another clone, its run included, with the hard links that DVC has made within it."""
        subprocess.run(["cp", "--archive", made, folder], check=True)
        return cls.at(folder / made.name)

    @classmethod
    def with_cache_of(cls, made: Path, folder: Path) -> "Clone":
        """A copy of another clone as if it had never run, but for DVC's cache and the journals.

        What a stage makes there again from the same bytes, DVC checks out of the cache instead of running the stage.
        """
        clone = cls.copy_of(made, folder)
        _git(clone.folder, "clean", "-dfxq", "--exclude=/.dvc", "--exclude=/.work", "--exclude=/tiny")
        return clone

    def commit(self, message: str) -> None:
        _git(self.folder, "add", "--all")
        _git(self.folder, "commit", "--quiet", "--allow-empty", "--message", message)

    def use_tiny_profile(self, **changes: object) -> None:
        """The profile `tiny` and what it reads; changes: dotted keys, with __ for the dot."""
        self.run("python tests/tiny.py tiny")
        params = yaml.safe_load((self.folder / "profiles/tiny.yaml").read_text())
        self.write_params(params, changes)

    def write_params(self, params: dict[str, object], changes: dict[str, object]) -> None:
        for key, value in changes.items():
            *sections, last = key.split("__")
            place = params
            for section in sections:
                place = place[section]
            place[last] = value
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        self.commit("the params of the test")

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        source = str(self.folder / "src")
        given = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # few machines set it
        return {**given, "PATH": path, "PYTHONPATH": source, "COLUMNS": "120", "OMP_NUM_THREADS": "1"}

    def run(self, command: str, returncode: int = 0) -> str:
        """What a shell command prints, standard error included; its exit code is checked."""
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == returncode, f"{command} exited with {result.returncode}:\n{result.stdout}"
        return result.stdout

    def outputs(self) -> dict[str, str]:
        """The content hash of every output of the pipeline, by path; not of what stages took, which is time."""
        return outputs_in((self.folder / "dvc.lock").read_text())


def outputs_in(lock: str) -> dict[str, str]:
    """What `Clone.outputs` says, from the text of a dvc.lock."""
    outs = [out for stage in yaml.safe_load(lock)["stages"].values() for out in stage["outs"]]
    return {out["path"]: out["md5"] for out in outs if not out["path"].startswith("data/costs/")}


def stages_run(output: str) -> set[str]:
    """The stages that `dvc repro` or `dvc exp run` says it ran."""
    return set(re.findall(r"Running stage '([^']+)'", output))


def stages_restored(output: str) -> set[str]:
    """The stages whose outputs `dvc repro` says it had in its cache."""
    return set(re.findall(r"Stage '([^']+)' is cached", output))


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout
