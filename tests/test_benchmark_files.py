"""Files of the public benchmarks: upstream's formats, old and new, and the compact ones; what is wrong in one line."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from metareward.errors import UserError
from metareward.inputs.questions import describe_benchmarks, missing_files, read_questions
from metareward.load_params import load_params
from metareward.tables import check_table

from bench import BENCH, needs_bench
from tiny import BENCHMARKS, save_tiny_benchmarks

ROOT = Path(__file__).parents[1]
COMPACT = {
    "alpaca_eval": {
        "questions": "alpaca_eval_prompts.jsonl.gz",
        "baseline": "alpaca_eval_outputs_gpt4_1106_preview.jsonl.gz",
        "difficulty": "alpaca_eval_instruction_difficulty.jsonl",
        "gamed": "alpaca_eval_gamed_baselines.jsonl.gz",
    },
    "arena_hard": {
        "questions": "arena_hard_v0.1_questions.jsonl.gz",
        "baseline": "arena_hard_v0.1_answers_gpt-4-0314.jsonl.gz",
    },
    "mt_bench": {"questions": "mt_bench_questions.jsonl", "references": "mt_bench_reference_gpt4.jsonl"},
}


def settings(folder, **changes):
    """The tiny profile's section with another folder; changes: of a benchmark's keys."""
    benchmarks = load_params(ROOT / "profiles/tiny.yaml").benchmarks.model_copy(update={"folder": str(folder)})
    updated = {name: getattr(benchmarks, name).model_copy(update=keys) for name, keys in changes.items()}
    return benchmarks.model_copy(update=updated)


@pytest.fixture
def folder(tmp_path):
    save_tiny_benchmarks(tmp_path)
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_questions_come_with_the_baselines_answers_and_references(folder):
    table = check_table(read_questions(settings(folder)), "questions").sort("benchmark", "position")
    assert table["question_id"].to_list() == ["0", "1", "2", "3", "q1", "q2", "q3", "1", "2"]
    assert table["position"].to_list() == [0, 1, 2, 3, 0, 1, 2, 0, 1]
    first, ice, ropes, rain = (table.row(number, named=True) for number in (0, 5, 7, 8))
    assert first["turns"] == ["When are bulbs of tulips planted?"]
    assert first["baseline"] == "In autumn, before the first frost."
    assert (first["category"], first["references"]) == ("garden", None)
    assert ice["baseline"].startswith("Ice takes more room")
    assert (ropes["category"], ropes["references"]) == ("math", ["Six metres.", "Fifteen metres."])
    assert rain["references"] is None  # writing is judged without
    assert len(rain["turns"]) == 2


def test_n_takes_the_first_ones(folder):
    few = settings(folder, alpaca_eval={"n": 2}, arena_hard={"n": 1}, mt_bench={"n": 9})
    assert read_questions(few)["question_id"].to_list() == ["0", "1", "q1", "1", "2"]


def test_a_benchmark_without_its_files_is_off_and_the_missing_ones_are_named(folder):
    (folder / "arena_hard_baseline.jsonl").unlink()
    (folder / "mt_bench_questions.jsonl").unlink()
    (folder / "mt_bench_references.jsonl").unlink()
    found = settings(folder)
    assert set(read_questions(found)["benchmark"]) == {"alpaca_eval"}
    assert missing_files(found, "arena_hard") == [folder / "arena_hard_baseline.jsonl"]
    alpaca_eval, arena_hard, mt_bench = describe_benchmarks(found)
    assert alpaca_eval == (
        "benchmark alpaca_eval is on: 4 questions, judged by tiny/model (transformers); no length-controlled win rate: "
        f"{folder}/df_gamed.csv not there"
    )
    assert arena_hard == f"benchmark arena_hard is off: {folder}/arena_hard_baseline.jsonl not there"
    assert f"{folder}/mt_bench_questions.jsonl and {folder}/mt_bench_references.jsonl not there" in mt_bench


def test_a_folder_with_nothing_in_it_gives_an_empty_table(tmp_path):
    assert check_table(read_questions(settings(tmp_path)), "questions").is_empty()
    assert all(" is off: " in line for line in describe_benchmarks(settings(tmp_path)))


def test_todays_and_compact_forms_say_the_same(folder):
    """arena-hard-auto's version of today, the compact rows of one field each, and gzip."""
    table = read_questions(settings(folder))
    asked, answered = BENCHMARKS["arena_hard_questions.jsonl"], BENCHMARKS["arena_hard_baseline.jsonl"]
    texts = {row["question_id"]: row["choices"][0]["turns"][0]["content"] for row in answered}
    prompts = [{"uid": row["question_id"], "cluster": "ours", "prompt": row["turns"][0]["content"]} for row in asked]
    today = [
        {"uid": id_, "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": {"answer": text}}]}
        for id_, text in texts.items()
    ]
    compact = [{"uid": id_, "answer": text, "token_len": 3} for id_, text in texts.items()]
    write(folder / "arena_hard_questions.jsonl", prompts)
    for rows in (today, compact):
        write(folder / "arena_hard_baseline.jsonl", rows[::-1])
        assert read_questions(settings(folder)).equals(table)
    plain = (folder / "mt_bench_questions.jsonl").read_bytes()
    (folder / "mt_bench_questions.jsonl").write_bytes(gzip.compress(plain))
    write(folder / "mt_bench_references.jsonl", [{"question_id": 1, "turns": ["Six metres.", "Fifteen metres."]}])
    assert read_questions(settings(folder)).equals(table)


def test_outputs_are_found_by_instruction_or_by_index(folder):
    table, rows = read_questions(settings(folder)), BENCHMARKS["alpaca_eval.json"]
    shuffled = [{"instruction": row["instruction"], "output": row["output"]} for row in rows[::-1]]
    by_index = [{"index": index, "output": row["output"]} for index, row in enumerate(rows)][::-1]
    for outputs in (shuffled, by_index):
        write(folder / "outputs.jsonl", outputs)
        assert read_questions(settings(folder, alpaca_eval={"baseline": "outputs.jsonl"})).equals(table)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("alpaca_eval.json", lambda rows: rows[1].pop("output"), "item 2 has no field 'output'"),
        ("alpaca_eval.json", lambda rows: rows[1].update(instruction=" "), "instruction is ' '"),
        ("alpaca_eval.json", lambda rows: rows[1].update(instruction=7), "instruction is 7"),
        ("alpaca_eval.json", lambda rows: rows.append(rows[0]), "a second time"),
        ("alpaca_eval.json", lambda rows: rows[2].update(index="2"), "index is '2'"),
        ("alpaca_eval.json", lambda rows: rows[2].update(output="\ud800"), "half of a surrogate pair"),
        ("arena_hard_questions.jsonl", lambda rows: rows[2].pop("question_id"), "neither question_id nor uid"),
        ("arena_hard_questions.jsonl", lambda rows: rows[2].update(turns=[]), "turns is []"),
        ("arena_hard_questions.jsonl", lambda rows: rows[2]["turns"].append("And?"), "2 turns; it must have one"),
        ("arena_hard_questions.jsonl", lambda rows: rows[2].update(question_id="q9"), "no answer to question q9"),
        ("arena_hard_questions.jsonl", lambda rows: rows[2].update(question_id=True), "question_id is True"),
        ("arena_hard_questions.jsonl", lambda rows: rows[2].update(question_id="q1"), "'q1' a second time"),
        ("arena_hard_baseline.jsonl", lambda rows: rows[0].pop("choices"), "has no answer"),
        ("arena_hard_baseline.jsonl", lambda rows: rows[0].update(choices=[]), "has no answer"),
        ("arena_hard_baseline.jsonl", lambda rows: rows[0].update(choices="A"), "has no answer"),
        ("arena_hard_baseline.jsonl", lambda rows: rows[0].update(answer=None), "answer is None"),
        ("mt_bench_questions.jsonl", lambda rows: rows[0].pop("turns"), "turns is None"),
        ("mt_bench_questions.jsonl", lambda rows: rows[0]["turns"].append("And?"), "3 turns; it must have one or two"),
        ("mt_bench_questions.jsonl", lambda rows: rows[0].update(category=3), "category is 3"),
        ("mt_bench_questions.jsonl", lambda rows: rows[1].update(category="coding"), "0 of the 2 turns of question 2"),
        ("mt_bench_references.jsonl", lambda rows: rows[0].update(question_id=5), "0 of the 2 turns of question 1"),
        ("mt_bench_references.jsonl", lambda rows: rows[0]["choices"][0].update(turns=["Six."]), "1 of the 2 turns"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_file_row_and_key(folder, name, change, said):
    rows = json.loads(json.dumps(BENCHMARKS[name]))
    change(rows)
    if name.endswith(".json"):
        (folder / name).write_text(json.dumps(rows))
    else:
        write(folder / name, rows)
    with pytest.raises(UserError) as error:
        read_questions(settings(folder))
    assert said in str(error.value)
    assert str(error.value).startswith(f"{folder}/{name.split('_')[0]}_")
    assert f"(params.yaml: benchmarks.{name.split('_')[0]}_" in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no rows"),
        (b"[]", "has no rows"),
        (b"\n{", "line 2 is not JSON"),
        (b"[1]", "item 1 is no JSON object"),
        (b"\x1f\x8bgarbage", "gzip archive"),
        (b"PAR1", "a Parquet file"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_file_that_is_none_is_said_so(folder, content, said):
    (folder / "arena_hard_questions.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_questions(settings(folder))


@needs_bench
def test_the_public_files_are_read_whole():
    table = check_table(read_questions(settings(BENCH, **COMPACT)), "questions")
    counts = table.group_by("benchmark").agg(pl.len(), pl.col("references").count(), pl.col("baseline").count())
    assert sorted(counts.rows()) == [
        ("alpaca_eval", 805, 0, 805),
        ("arena_hard", 500, 0, 500),
        ("mt_bench", 80, 30, 0),
    ]
    ids = table.filter(benchmark="alpaca_eval").sort("position")["question_id"]
    assert ids.to_list() == [str(index) for index in range(805)]


@needs_bench
def test_upstreams_order_is_known_by_the_instructions_where_rows_have_no_index(tmp_path):
    """Difficulties of instructions are published by that order: a shuffled file keeps it."""
    lines = gzip.decompress((BENCH / "alpaca_eval_prompts.jsonl.gz").read_bytes()).splitlines()
    outputs = gzip.decompress((BENCH / "alpaca_eval_outputs_gpt4_1106_preview.jsonl.gz").read_bytes()).splitlines()
    outputs = {row["index"]: row["output"] for row in map(json.loads, outputs)}
    rows = [json.loads(line) for line in lines][::-7]
    texts = [{"instruction": row["instruction"], "output": outputs[row["index"]]} for row in rows]
    write(tmp_path / "alpaca_eval.json", texts)
    table = read_questions(settings(tmp_path))
    assert table["question_id"].to_list() == [str(row["index"]) for row in rows]
