"""Inputs that another clone would not have are named with the command that mends it, and the command does mend it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metareward.errors import UserError
from metareward.load_params import load_params
from metareward.pipeline.clones import check_present, input_paths, only_here

PARAMS = load_params(Path(__file__).parents[1] / "profiles/demo.yaml")


def sh(command):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", command], check=True, capture_output=True, env={**os.environ, "PATH": path})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A git repository with DVC whose inputs are all committed; it is the working directory."""
    folder = tmp_path / "a project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for path in input_paths(PARAMS).values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("an input\n")
    Path(".gitignore").write_text("/data/*\n!/data/samples/\n")
    sh("git init -q && git config user.name T && git config user.email t@example.org && dvc init -q")
    sh("git add --all && git commit -qm inputs")
    return folder


def params(path):
    return PARAMS.model_copy(update={"prompts": PARAMS.prompts.model_copy(update={"file": str(path)})})


def write(path, size=10):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x" * size)
    return path


def follow(settings):
    """Do what the lines say until none is left; the lines that there were."""
    seen = []
    while lines := only_here(settings):
        (line,) = lines
        assert line not in seen
        seen.append(line)
        command = re.search(r": ((?:git|dvc) .*?)(?: \(params.yaml: prompts.file\))$", line)[1]
        sh(command.replace("git commit", "git commit -qm mended"))
    return seen


def test_committed_inputs_are_no_problem(project):
    assert only_here(PARAMS) == []
    check_present(PARAMS)


def test_a_small_file_goes_into_git(project):
    (line,) = follow(params(write("inputs/my prompts.jsonl")))
    assert line == (
        "inputs/my prompts.jsonl is neither in git nor under DVC: git add 'inputs/my prompts.jsonl' && git commit "
        "(params.yaml: prompts.file)"
    )


def test_a_small_file_that_git_ignores_is_forced_into_it(project):
    (line,) = follow(params(write("data/prompts.jsonl")))
    assert "git add --force data/prompts.jsonl && git commit" in line


def test_a_large_file_goes_under_dvc_and_its_dvc_file_into_git(project):
    first, second = follow(params(write("inputs/prompts.jsonl", 2_000_000)))
    assert "neither in git nor under DVC: dvc add inputs/prompts.jsonl " in first
    assert "git add inputs/prompts.jsonl.dvc && git commit" in second


def test_a_file_in_a_folder_under_dvc_is_under_dvc(project):
    path = write("inputs/deep/prompts.jsonl")
    sh("dvc add -q inputs && git add inputs.dvc && git commit -qm inputs")
    assert only_here(params(path)) == []


def test_an_output_of_a_stage_is_no_problem(project):
    path = write("data/made.jsonl")
    Path("dvc.yaml").write_text("stages:\n  make:\n    cmd: touch data/made.jsonl\n    outs: [data/made.jsonl]\n")
    assert "git add dvc.yaml dvc.lock" in only_here(params(path))[0]
    sh("dvc repro -q && git add --all && git commit -qm made")
    assert only_here(params(path)) == []


def test_a_file_that_is_staged_or_changed_is_not_what_another_clone_has(project):
    path = write("inputs/prompts.jsonl")
    sh("git add inputs")
    assert "is not committed as it is here" in only_here(params(path))[0]
    sh("git commit -qm inputs")
    write(path, 11)
    (line,) = follow(params(path))
    assert "is not committed as it is here: git add inputs/prompts.jsonl && git commit" in line


def test_a_large_ignored_file_and_one_outside_move_in(project):
    assert (
        "mv data/big.jsonl inputs/ && dvc add inputs/big.jsonl"
        in only_here(params(write("data/big.jsonl", 2_000_000)))[0]
    )
    outside = write(project.parent / "prompts.jsonl")
    for path in (outside, "../prompts.jsonl"):
        (line,) = only_here(params(path))
        assert f"{path} lies outside this project: mkdir -p inputs && cp -r {path} inputs/ && dvc add" in line
    Path("inputs").mkdir()
    Path("inputs/link.jsonl").symlink_to(outside)
    sh("git add inputs && git commit -qm link")
    assert "lies outside this project" in only_here(params("inputs/link.jsonl"))[0]


def test_a_seed_model_is_an_input_when_it_is_a_folder_here(project):
    settings = PARAMS.model_copy(update={"seed_model": "inputs/model"})
    assert only_here(settings) == []  # a hub id, for all that is known
    write("inputs/model/config.json")
    sh("git add inputs && git commit -qm config")
    assert only_here(settings) == []
    write("inputs/model/model.safetensors", 2_000_000)
    (line,) = only_here(settings)
    assert line == ("inputs/model is neither in git nor under DVC: dvc add inputs/model (params.yaml: seed_model)")


def test_every_file_that_params_name_is_looked_at(project):
    kinds = ["judge", "meta_judge", "compare", "reply"]  # no file of examples is left unused
    params = PARAMS.model_copy(update={"eft": PARAMS.eft.model_copy(update={"kinds": kinds})})
    paths = input_paths(params)
    for key, path in paths.items():
        if key == "benchmarks.folder":
            continue  # file by file: test_benchmarks.py
        path.write_text("changed\n")
        first = next(other for other in paths if paths[other] == path)  # one line a file, however many keys name it
        assert [line for line in only_here(params) if line.startswith(f"{path} ") and first in line], key
        path.unlink()
        with pytest.raises(UserError, match=rf"{path} is missing.*git checkout -- {path} .*{first}"):
            check_present(params)
        sh(f"git checkout -- {path}")


def test_a_missing_input_is_one_line_that_says_where_it_is(project):
    with pytest.raises(UserError, match=r"^inputs/no.jsonl is missing. Neither git nor DVC has it.*prompts.file\)$"):
        check_present(params("inputs/no.jsonl"))
    write("inputs/prompts.jsonl")
    sh("dvc add -q inputs/prompts.jsonl && rm inputs/prompts.jsonl")
    with pytest.raises(UserError, match=r"Hint: dvc pull inputs/prompts.jsonl"):
        check_present(params("inputs/prompts.jsonl"))
    with pytest.raises(UserError, match=r"/no/where is missing"):
        check_present(params("/no/where"))
