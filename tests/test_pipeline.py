"""The whole DAG on a tiny model: what runs, what reruns, and that the same commit gives the same bytes."""

import base64
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from test_what_if import check_own_rows

from metareward.load_params import parse_params
from metareward.tables import read_table

from pipeline import ROOT, Clone, outputs_in, stages_run

EVERY_STAGE = {
    "seed", "eft-judge", "eft", "sft", "generate-prompts", "strong-respond", "strong-judge", "summary-sft", "metrics",
    "questions", "categories", "monitor-training-sft", "digest-sft", "report",
    *(
        f"{stage}@{name}"
        for stage in ("evaluate", "compare", "likelihood", "answer", "grade")
        for name in ("seed", "sft", "m1", "m2")
    ),
    *(
        f"{stage}@{name}"
        for stage in (
            "prompts", "respond", "dedup", "judge", "score", "actor-pairs", "choose", "meta-judge", "elo",
            "judge-pairs", "monitor-data", "dpo", "monitor-training", "summary", "digest",
        )
        for name in ("m1", "m2")
    ),
}  # fmt: skip

SOURCES = ("src/", "stages/")


@pytest.fixture(scope="module")
def finished(tiny_run, tmp_path_factory):
    """A clone in which `dvc repro` has run the tiny profile, what it printed, and the hashes of its outputs."""
    clone = Clone.copy_of(tiny_run, tmp_path_factory.mktemp("pipeline"))
    return clone, (tiny_run.parent / "printed").read_text(), clone.outputs()


def table(clone, path, name):
    return read_table(clone.folder / "data/iterations" / path, name)


def test_every_stage_runs_once(finished):
    _, output, _ = finished
    assert stages_run(output) == EVERY_STAGE


def test_iterations_have_prompts_of_their_own(finished):
    clone, _, _ = finished
    first, second = (table(clone, f"{name}/prompts.parquet", "prompts")["prompt_id"] for name in ("m1", "m2"))
    assert len(first) == len(second) == 4
    assert not set(first) & set(second)


@pytest.mark.parametrize("name", ["m1", "m2"])
def test_every_prompt_ends_in_a_pair_or_a_reason(finished, name):
    clone, _, _ = finished
    prompts = set(table(clone, f"{name}/prompts.parquet", "prompts")["prompt_id"])
    for role in ("actor", "judge"):
        pairs = table(clone, f"{name}/{role}_pairs.parquet", f"{role}_pairs")["prompt_id"].to_list()
        others = table(clone, f"{name}/{role}_no_pairs.parquet", "no_pairs")["prompt_id"].to_list()
        assert sorted(pairs + others) == sorted(prompts)


def test_pairs_of_both_kinds_are_made_and_trained(finished):
    clone, _, _ = finished
    actor = table(clone, "m1/actor_pairs.parquet", "actor_pairs")
    judge = table(clone, "m1/judge_pairs.parquet", "judge_pairs")
    assert actor.height > 0
    assert judge.height > 0
    metrics = json.loads((clone.folder / "metrics.json").read_text())
    assert metrics["training"]["rows_trained"]["m1"] == actor.height + judge.height
    reasons = table(clone, "m2/judge_no_pairs.parquet", "no_pairs")["reason"]
    assert set(reasons) == {"judge_not_trained"}


def test_metrics_name_every_checkpoint(finished):
    clone, _, _ = finished
    metrics = json.loads((clone.folder / "metrics.json").read_text())
    assert list(metrics["held_out"]["response_chars"]) == ["seed", "sft", "m1", "m2"]
    assert "seed" not in metrics["held_out"]["win_rate_by_sft"]
    shown = clone.run("metareward show")
    assert [line for line in shown.splitlines() if "m2" in line]


def test_a_checkpoint_takes_its_disk_once(finished):
    """With reflink among its link types DVC takes copies for reflinks, and a checkpoint lies there twice."""
    clone, _, _ = finished
    for name in ("seed", "sft", "m1", "m2"):
        assert (clone.folder / "models" / name / "model.safetensors").stat().st_nlink == 2


def test_second_run_does_nothing(finished):
    clone, _, _ = finished
    assert stages_run(clone.run("dvc repro")) == set()


def test_a_comment_in_a_module_reruns_the_stages_that_the_page_names_and_no_others(finished):
    """Each module and each script in turn, against docs/reruns.md."""
    from dvc.repo import Repo

    clone, _, _ = finished
    page = (clone.folder / "docs/reruns.md").read_text()
    named = dict(re.findall(r"^\| `(\S+\.py)` \| (.*) \|$", page.split("No stage depends")[0], flags=re.MULTILINE))
    files = [*clone.folder.glob("src/metareward/**/*.py"), *clone.folder.glob("stages/*.py")]
    with Repo(clone.folder) as repo:
        assert repo.status() == {}
        # `dvc status` asks every dependency; those that are no code take nine tenths of its time, and stay as they are
        code = [(stage, dep) for stage in repo.index.stages for dep in stage.deps if str(dep).startswith(SOURCES)]
        for file in files:
            name, before = file.relative_to(clone.folder).as_posix(), file.read_text()
            words, _, engine = named.get(name, "").partition(" (where `engine.name` is ")
            always, _, by_engine = words.rpartition("; ") if engine else (words, "", "")
            ran = always.split(", ") + (by_engine.split(", ") if "`transformers`" in engine else [])
            file.write_text(before + "# a comment\n")
            try:
                assert {stage.name.split("@")[0] for stage, dep in code if dep.status()} == set(filter(None, ran)), name
            finally:
                file.write_text(before)
        assert repo.status() == {}
    assert len(named) > 50
    assert set(named) <= {file.relative_to(clone.folder).as_posix() for file in files}


def test_an_edit_of_the_chat_encoding_generates_anew_though_the_journal_is_complete(finished):
    clone, _, outputs = finished
    table = "data/iterations/m1/responses.parquet"
    chat, work = clone.folder / "src/metareward/engines/common/chat.py", clone.folder / ".work/respond@m1"
    before, journals = chat.read_text(), set(work.iterdir())
    chat.write_text(before + "# a comment\n")
    assert stages_run(clone.run("dvc repro --single-item respond@m1")) == {"respond@m1"}
    assert len(set(work.iterdir()) - journals) == 1
    assert clone.outputs()[table] == outputs[table]
    chat.write_text(before)
    clone.run("dvc repro --single-item respond@m1")
    assert stages_run(clone.run("dvc repro")) == set()


def test_another_clone_pulls_all_of_a_run_and_has_nothing_to_do(finished, tmp_path):
    """The profile's inputs lie where git ignores them: what `metareward check` says mends that."""
    clone, _, outputs = finished
    lines = re.findall(r"another clone .*?: (git add .*?) && git commit \(params", clone.run("metareward check"))
    assert len(lines) == 13
    clone.run(f"dvc remote add --force --default store '{tmp_path / 'store'}' && {' && '.join(lines)}")
    clone.commit("all that another clone needs")
    clone.run("dvc push --quiet")
    assert "another clone" not in clone.run("metareward check")

    other = tmp_path / "another clone"
    here = f"cd '{other}' && "
    clone.run(f"git clone --quiet . '{other}' && {here}dvc pull --quiet")
    assert stages_run(clone.run(f"{here}dvc repro")) == set()
    assert clone.run(f"{here}git status --porcelain") == ""
    assert outputs_in((other / "dvc.lock").read_text()) == outputs

    (other / "tiny/eft.jsonl").unlink()
    assert "error: tiny/eft.jsonl is missing. Hint: git checkout -- tiny/eft.jsonl" in clone.run(
        f"{here}metareward check", returncode=2
    )


def test_same_commit_gives_the_same_bytes(tiny_run, tmp_path):
    """Each stage up to the first iteration's summary is computed a second time, in another clone at another path.

    Every kind of stage, SFT, generation, DPO, evaluation and grading included: of those that work on checkpoints, on
    m1 alone. All that they write is gone before the first of them begins, and their journals are. The commands are
    those that DVC ran; what the seed's and SFT's evaluations wrote is the first run's.
    """
    again = Clone.copy_of(tiny_run, tmp_path)
    lock = yaml.safe_load((again.folder / "dvc.lock").read_text())["stages"]
    last = {"metrics", "report"}  # of the whole run
    stages = {name: stage for name, stage in lock.items() if name.partition("@")[2] in ("", "m1") and name not in last}
    assert {name.split("@")[0] for name in stages} == {name.split("@")[0] for name in EVERY_STAGE} - last
    outs = {out["path"] for stage in stages.values() for out in stage["outs"]}
    again.run(f"set -e; rm -r .work {' '.join(outs)}; {'; '.join(stage['cmd'] for stage in stages.values())}")
    outs = {path for path in outs if not path.startswith("data/costs/")}  # which is time
    assert {path for path in outs if hashes(again.folder / path) != hashes(tiny_run / path)} == set()
    assert len(hashes(again.folder / "models/m1")) > 3


def hashes(path):
    """The hash of a file, or of each file of a folder."""
    files = [file for file in (path, *path.rglob("*")) if file.is_file()]
    return {file.relative_to(path): hashlib.md5(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def ablations(finished):
    """The clone with two experiments, `zero` and `one`, and the stages that each ran."""
    clone, _, _ = finished
    clone.commit("the tiny run")
    zero = stages_run(clone.run("dvc exp run --name zero -S rho=0.0"))
    one = stages_run(clone.run("dvc exp run --name one -S rho=schedule -S iterations.m2.rho=1.0"))
    return clone, zero, one


def test_ablation_reruns_from_pair_selection_on(ablations):
    _, zero, one = ablations
    after = {"actor-pairs@m1", "actor-pairs@m2", "dpo@m2", "evaluate@m2", "compare@m2", "summary@m2", "metrics"}
    after |= {"likelihood@m2", "answer@m2", "grade@m2", "monitor-data@m2", "monitor-training@m2"}
    after |= {"digest@m2", "report"}
    # m1's own rho is 0 already, so its pairs stay the same and nothing that hangs on them reruns
    assert {"actor-pairs@m1", "actor-pairs@m2"} <= zero <= after
    assert "actor-pairs@m2" in one
    assert one <= after | {"judge-pairs@m2"}


def test_balanced_reruns_from_pair_selection_on_and_is_recorded(ablations):
    """Where m1's pairs change, so do m1's weights and all of m2 that is generated with them."""
    clone, _, _ = ablations
    clone.run("git checkout --quiet -- . && dvc checkout --quiet")
    ran = stages_run(clone.run("dvc exp run --name balanced -S rho=balanced"))
    assert {"actor-pairs@m1", "actor-pairs@m2"} <= ran
    selected = (
        "monitor-data",
        "dpo",
        "evaluate",
        "compare",
        "likelihood",
        "answer",
        "grade",
        "summary",
        "monitor-training",
        "digest",
    )
    first = {f"{stage}@m1" for stage in ("actor-pairs", *selected)}
    assert {stage for stage in ran if not stage.endswith("@m2")} <= first | {"metrics", "report"}
    assert "prompts@m2" not in ran
    rows = json.loads(clone.run("metareward sql --json 'SELECT iteration, rho, set_by FROM length_control ORDER BY 1'"))
    rhos = json.loads((clone.folder / "metrics.json").read_text())["actor_pairs"]["rho"]
    assert {row["iteration"]: row["rho"] for row in rows} == rhos
    for row in rows:
        assert row["set_by"] in ("balanced", "least_difference")
        scores = table(clone, f"{row['iteration']}/scores.parquet", "scores")
        judged = scores.drop_nulls("mean").group_by("prompt_id").len().sort("len", "prompt_id")["prompt_id"][-1]
        assert f"rho {row['rho']:g} ({row['set_by']})" in clone.run(f"metareward trace {judged}")
    check_own_rows(clone.run("metareward what-if rho=0:1:0.25 ridge=0.5 --json 2>/dev/null"), clone.folder)
    clone.run("git checkout --quiet -- . && dvc checkout --quiet")


@pytest.mark.parametrize("question", ["rho=0:1:0.25 ridge=0.5", "judgments=1..2"])
def test_what_if_gives_the_runs_own_pairs_for_its_own_values(finished, question):
    clone, _, _ = finished
    clone.run("git checkout --quiet -- . && dvc checkout --quiet")
    check_own_rows(clone.run(f"metareward what-if {question} --json 2>/dev/null"), clone.folder)


def drawn(clone, command):
    """The data of each chart on the page that a command of DVC's makes, by title."""
    shutil.rmtree(clone.folder / "dvc_plots", ignore_errors=True)
    clone.run(command)
    page = (clone.folder / "dvc_plots/index.html").read_text()
    specs = [json.loads(spec) for spec in re.findall(r"var spec = (\{.*\});", page)]
    return {spec["title"]: spec["data"]["values"] for spec in specs}


def test_plots_draw_every_plot_with_all_its_checkpoints(ablations):
    clone, _, _ = ablations
    plots = drawn(clone, "git checkout --quiet -- . && dvc plots show")
    declared = [plot for entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] for plot in entry.values()]
    assert list(plots) == [plot["title"] for plot in declared]
    found = {title: list(dict.fromkeys(row["checkpoint"] for row in rows)) for title, rows in plots.items()}
    judging = ["sft", "m1", "m2"]  # the seed's judgments are not readable
    expected = {
        "Win rate": ["sft", "m1", "m2"],
        "Judge agrees with human": judging,
        "Judge's scores and human ranks": judging,
        "Judge agrees with a strong judge": [None],  # there is none
        "Difference to the checkpoint before": ["m1", "m2"],  # the seed has neither win rate nor agreement
        "Readable": ["seed", "sft", "m1", "m2"],
        "Length": ["seed", "sft", "m1", "m2"],
        "Scores that the judge gives": ["m1", "m2"],
        "Scores of the same": judging,
        "Distribution": judging,
        "What the meta-judge prefers": judging,
        "Training loss": ["sft", "m1", "m2"],
        "DPO rewards": ["m1", "m2"],
    }
    for start, checkpoints in expected.items():
        ((title, drawn_for),) = [(title, names) for title, names in found.items() if title.startswith(start)]
        assert drawn_for == checkpoints, title
    steps = json.loads((clone.folder / "metrics.json").read_text())["training"]["steps"]["sft"]
    losses = next(rows for title, rows in plots.items() if "Training loss" in title)
    assert [row["step"] for row in losses if row["checkpoint"] == "sft"] == list(range(1, steps + 1))
    win_rates = next(rows for title, rows in plots.items() if "Win rate" in title)
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in win_rates)
    densities = next(rows for title, rows in plots.items() if "Distribution" in title)
    assert {row["kind"] for row in densities} == {"histogram", "density"}


def test_plots_diff_draws_both_experiments_in_every_plot(ablations):
    clone, _, _ = ablations
    plots = drawn(clone, "dvc plots diff zero one")
    assert len(plots) == len(yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"])
    for title, rows in plots.items():
        zero, one = ([{**row, "rev": None} for row in rows if row["rev"] == name] for name in ("zero", "one"))
        assert zero, title
        assert one, title
        assert len(zero) + len(one) == len(rows), title
        off = any(name in title for name in ("strong judge", "AlpacaEval", "Arena-Hard", "MT-Bench"))
        assert off or any(row.get("value", row.get("share")) is not None for row in zero), title


def test_the_page_of_plots_needs_no_network(ablations):
    """Its scripts are found beside it, unchanged as their publishers made them."""
    clone, _, _ = ablations
    clone.run("dvc plots show")
    page = clone.folder / "dvc_plots/index.html"
    text = page.read_text()
    scripts = re.findall(r'<script src="([^"]+)">', text)
    assert len(scripts) == 3
    for script in scripts:
        content = (page.parent / script).read_bytes()
        digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
        assert re.search(rf"{Path(script).name}\W+{re.escape(digest)}", text), script


def test_what_python_leaves_beside_its_modules_reruns_nothing(finished):
    """Some stages depend on folders of modules; compiled ones hold times of files, which differ in each clone."""
    clone, _, _ = finished
    compiled = "import compileall; compileall.compile_dir('src', quiet=1)"
    clone.run(f'git checkout --quiet -- . && dvc checkout --quiet && python -c "{compiled}"')
    assert any((clone.folder / "src/metareward/engines/common").rglob("*.pyc"))
    assert "up to date" in clone.run("dvc status")


def test_an_iteration_that_was_removed_is_in_no_clone(finished, tmp_path):
    """Its files stay where they are, and no stage reads them: what the params name is what the metrics depend on."""
    clone, _, _ = finished
    copy = Clone.at(tmp_path / "copy")
    shutil.copytree(clone.folder, copy.folder, symlinks=True, ignore=shutil.ignore_patterns(".work", ".venv"))
    copy.run("git checkout --quiet -- . && dvc checkout --quiet && git add --force tiny")
    params = yaml.safe_load((copy.folder / "profiles/tiny.yaml").read_text())
    del params["iterations"]["m2"]
    copy.write_params(params, {"checkpoints": ["seed", "sft", "m1"]})
    ran = stages_run(copy.run("dvc repro"))
    assert ran == {"prompts@m1", "metrics", "report"}  # prompts: the pool must be large enough for all checkpoints
    page = (copy.folder / "report.html").read_text()
    assert "checkpoints seed, sft, m1. " in page
    assert '"iteration":"m2"' not in page
    assert '"iteration":"m2"' in (clone.folder / "report.html").read_text()
    copy.commit("without m2")
    assert (copy.folder / "data/iterations/m2/judgments.parquet").exists()
    (copy.folder / "data/training/note.txt").write_text("one's own")
    assert "up to date" in copy.run("dvc status")
    copy.run(f"dvc remote add --force --default store '{tmp_path}/store' && dvc push")
    copy.commit("a remote")
    copy.run(f"git clone --quiet . '{tmp_path}/second'")
    second = Clone.at(tmp_path / "second")
    second.run("dvc pull")
    assert "up to date" in second.run("dvc status")
    assert stages_run(second.run("dvc repro")) == set()
    assert "m2" not in (second.folder / "metrics.json").read_text()
    assert not any("m2" in path.read_text() for path in (second.folder / "plots").iterdir())


# What each command of the README prints, as a regular expression; a command without one fails the test.
SHOWN = {
    "make run": r"Held-out evaluation(.|\n)*\nm2 ",
    "source .venv/bin/activate": "",
    "dvc repro": "up to date",
    'python -c "import polars as pl': r"\{'prompt_id': (.|\n)*'chosen': (.|\n)*'rejected': ",
    "python -c": r"shape: \(\d+, \d+\)(.|\n)*chosen",
    "metareward show": r"Held-out evaluation(.|\n)*\nseed (.|\n)*\nm2 +[\d.]+ \[[\d.]+ [\d.]+\](.|\n)*NOISE",
    "metareward show --paper": r"Judge against people(.|\n)*\nSFT +63\.20 +[\d.]+ \[(.|\n)*strong judge: off",
    "metareward compare": r"m2 minus m1(.|\n)*\nagreement_ties_half +[\d.]+ +[\d.]+ +[+-]?[\d.]+(.|\n)*NOISE",
    "metareward show judge": r"\nreadable( +-){2}( +[01]\.\d{3}){2}\n",
    "metareward score mt-bench": r"MT-Bench: demo, judged by made-up(.|\n)*\n +turn 1 +8\.12 +\d\.\d\d to \d\.\d\d +4 ",
    "metareward export-answers": r"exported/alpaca_eval/model_outputs\.json: 4 questions\n(.|\n)*mt_bench",
    "metareward profile": r"demo +demo: (.|\n)*paper +paper: (.|\n)*tiny +tiny: ",
    "metareward profile paper": r"params.yaml is now profiles/paper.yaml",
    "metareward profile small": r"params.yaml is now profiles/small.yaml",
    "metareward check": r"params\.yaml and its files are in order: checkpoints seed, sft, m1, m2",
    "metareward journal": r"respond@m1(.|\n)*complete",
    "metareward journal --clear": r"deleted \d+ of \d+",
    "metareward plan": r"respond@m1(.|\n)*total",
    "metareward estimate": r"From beginning to end(.|\n)*about \d+ minutes on this machine",
    "git add": "",
    "dvc exp run": r"Reproducing experiment '(no-length-control|m3-only)'",
    "metareward exp": r"Last checkpoints(.|\n)*no-length-control(.|\n)*rho=0.0 \(was schedule\)",
    "metareward sql": r"iteration +role +margin +chosen +rejected\n─+\nm\d +(actor|judge) (.|\n)*\n3 rows",
    "metareward sql --schema": r"pairs: a preference pair(.|\n)*\n  margin +double ",
    "metareward what-if": r"m2: actor pairs(.|\n)*\n0\.\d+ \*? +\d+ (.|\n)*as the run has it",
    "metareward reliability": r"m2: \d+ responses, \d+ actor pairs(.|\n)*\n1 +(-|[01]\.\d\d).*\n2 ",
    "metareward show --costs": r"\nsft +\d+:\d\d:\d\d(.|\n)*\ntotal (.|\n)*hardware: ",
    "metareward show monitors": r"\nbeyond_limit ",
    "metareward report": r"report\.html: \d\.\d MB\. (Revision|Not committed yet, on top of revision) ",
    "dvc exp show": r"Experiment(.|\n)*rho(.|\n)*no-length-control",
    "dvc metrics diff": r"Metric +HEAD +workspace +Change\nactor_pairs\.",
    "dvc plots show": r"file:///.*dvc_plots/index\.html",
    "dvc plots diff": r"file:///.*dvc_plots/index\.html",
    "dvc dag": r"node\d+\[\"actor-pairs\"\](.|\n)*-->",
}


def test_readme_commands_show_what_they_should(ablations):
    """Each command of the README, in its order, in the clone; `make test` is what runs this."""
    clone, _, _ = ablations
    clone.run("git checkout --quiet -- . && dvc checkout --quiet")
    (clone.folder / "notes.txt").write_text("something to commit, as dvc.lock is after the first run")
    (clone.folder / ".venv").mkdir()
    (clone.folder / ".venv/bin").symlink_to(Path(sys.prefix) / "bin", target_is_directory=True)
    (clone.folder / ".venv/run.installed").touch()  # or make would install the clone over the project
    text = (clone.folder / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 3
    commands = [line for line in "".join(blocks).splitlines() if line != "make test"]
    named = sorted(re.findall(r"`(metareward [a-z][^`A-Z]*)`", text), key=lambda command: "--clear" in command)
    for command in [*commands, *named]:
        printed = clone.run(re.sub(r"iterations\.m3\.rho=0.0", "iterations.m2.rho=1.0", command))
        expected = next((SHOWN[start] for start in sorted(SHOWN, reverse=True) if command.startswith(start)), None)
        assert expected is not None, f"SHOWN does not say what {command!r} prints"
        assert re.search(expected, printed), f"{command} printed\n{printed}"
        if command.startswith("metareward profile "):
            clone.run("git checkout --quiet -- params.yaml")


def test_readme_ablations_change_params_that_exist():
    text = (ROOT / "README.md").read_text()
    changes = re.findall(r"(?:-S|--set-param) ([\w.]+)=(\S+?)[`\s]", text)
    assert len(changes) >= 6
    for key, value in changes:
        params = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text())
        *sections, last = key.split(".")
        place = params
        for section in sections:
            place = place[section]
        assert last in place, key
        place[last] = yaml.safe_load(value)
        parse_params(params)
