"""A checkpoint's answers as upstream's tools read them: the fields and types of their own files, and a tool itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_benchmark_files import COMPACT, settings

from metareward.cli.export_answers import export_answers
from metareward.errors import UserError
from metareward.inputs.questions import read_questions
from metareward.pipeline.stage import QUESTIONS, answers_file
from metareward.tables import empty_table, table_of, write_table

from bench import BENCH, needs_bench
from tiny import BENCHMARKS, save_tiny_benchmarks


def answers_to(questions, text="A"):
    """An answer to each turn; of the first question of each benchmark none was written."""
    rows = [
        {
            "benchmark": row["benchmark"],
            "question_id": row["question_id"],
            "turn": turn,
            "answer_id": f"id{turn}",
            "answer": f"{text}{turn} \N{SNOWMAN}" if row["position"] else None,
            "n_chars": 4,
            "n_tokens": 5,
            "finish_reason": "stop",
        }
        for row in questions.iter_rows(named=True)
        for turn in range(1, len(row["turns"]) + 1)
    ]
    return table_of(rows, "answers")


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """The folder to which the answers of m1 to the tiny benchmarks were written."""
    monkeypatch.chdir(tmp_path)
    save_tiny_benchmarks(tmp_path / "tiny")
    questions = write_table(read_questions(settings(tmp_path / "tiny")), QUESTIONS, "questions")
    write_table(answers_to(questions), answers_file("m1"), "answers")
    export_answers("m1", Path("out"), "ours-m1")
    return tmp_path / "out"


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_alpaca_evals_outputs_have_upstreams_fields(exported):
    rows = json.loads((exported / "alpaca_eval/model_outputs.json").read_text(encoding="utf-8"))
    upstream = BENCHMARKS["alpaca_eval.json"]
    assert [set(row) for row in rows] == [set(row) for row in upstream]
    assert [row["instruction"] for row in rows] == [row["instruction"] for row in upstream]
    assert rows[0]["output"] == ""  # never written
    assert rows[1]["output"] == "A1 \N{SNOWMAN}"
    assert {row["generator"] for row in rows} == {"ours-m1"}


def test_arena_hards_answers_have_the_fields_of_both_versions(exported):
    first, second, _ = lines(exported / "arena-hard-v0.1/model_answer/ours-m1.jsonl")
    assert first["choices"] == [{"index": 0, "turns": [{"content": ""}]}]
    assert second["question_id"] == second["uid"] == "q2"
    assert second["model_id"] == second["model"] == "ours-m1"
    assert second["choices"][0]["turns"][0]["content"] == "A1 \N{SNOWMAN}"
    assert second["messages"] == [
        {"role": "user", "content": "Why does ice float?"},
        {"role": "assistant", "content": {"answer": "A1 \N{SNOWMAN}"}},
    ]
    assert second["conv_metadata"] == second["metadata"] == {"token_len": 5}
    assert isinstance(second["tstamp"], float)


def test_mt_benchs_answers_have_upstreams_fields(exported):
    first, second = lines(exported / "mt_bench/model_answer/ours-m1.jsonl")
    assert set(first) == {"question_id", "answer_id", "model_id", "choices", "tstamp"}
    assert (first["question_id"], second["question_id"]) == (1, 2)  # numbers, by which the tool looks them up
    assert first["choices"] == [{"index": 0, "turns": ["", ""]}]
    assert second["choices"] == [{"index": 0, "turns": ["A1 \N{SNOWMAN}", "A2 \N{SNOWMAN}"]}]


def test_what_was_exported_is_read_back_as_a_baseline(exported):
    """Our own readers take upstream's formats: they find every answer."""
    changes = {
        "alpaca_eval": {"baseline": exported / "alpaca_eval/model_outputs.json"},
        "arena_hard": {"baseline": exported / "arena-hard-v0.1/model_answer/ours-m1.jsonl"},
    }
    found = read_questions(settings(exported.parent / "tiny", **changes)).drop_nulls("baseline")
    assert found.height == 7
    assert set(found["baseline"]) == {"", "A1 \N{SNOWMAN}"}


def test_what_cannot_be_exported_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"m1 has not answered\. Hint: dvc repro answer@m1"):
        export_answers("m1", Path("out"))
    write_table(empty_table("questions"), QUESTIONS, "questions")
    write_table(empty_table("answers"), answers_file("m1"), "answers")
    with pytest.raises(UserError, match="no benchmark is on"):
        export_answers("m1", Path("out"))
    with pytest.raises(UserError, match="must not be a path"):
        export_answers("m1", Path("out"), "org/model")


@needs_bench
def test_the_official_package_reads_what_was_exported(tmp_path, monkeypatch):
    """alpaca_eval reads them and merges them with the baseline's, instruction by instruction, as for its judge."""
    pytest.importorskip("alpaca_eval")
    monkeypatch.chdir(tmp_path)
    changes = {name: files | ({"n": 20} if name == "alpaca_eval" else {"n": 1}) for name, files in COMPACT.items()}
    questions = write_table(read_questions(settings(BENCH, **changes)), QUESTIONS, "questions")
    write_table(answers_to(questions), answers_file("m1"), "answers")
    export_answers("m1", tmp_path, "ours")
    mine = questions.filter(benchmark="alpaca_eval").sort("position")
    baseline = [
        {"instruction": turns[0], "output": output, "dataset": dataset, "generator": "baseline"}
        for turns, output, dataset in mine.select("turns", "baseline", "category").iter_rows()
    ]
    (tmp_path / "baseline.json").write_text(json.dumps(baseline))
    done = subprocess.run([sys.executable, "-c", OFFICIAL], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    scores = json.loads(done.stdout.splitlines()[-1])
    assert scores["n"] == 20
    assert scores["outputs"] == ["", *["A1 \N{SNOWMAN}"] * 19]


OFFICIAL = """
import json
from alpaca_eval import utils
from alpaca_eval.annotators import PairwiseAnnotator

ours = utils.load_or_convert_to_dataframe("alpaca_eval/model_outputs.json")
baseline = utils.load_or_convert_to_dataframe("baseline.json")
seen = []

class Stand(PairwiseAnnotator):
    def __init__(self):
        self.input_keys, self.output_keys = ["instruction"], ["output_1", "output_2"]

    def __call__(self, pairs, **_):
        seen.append(pairs)
        return pairs.to_dict("records")

Stand().annotate_head2head(outputs_1=baseline, outputs_2=ours)
(pairs,) = seen
assert utils.get_generator_name(None, ours) == "ours"
print(json.dumps({"n": len(pairs), "outputs": pairs["output_2"].tolist()}))
"""
