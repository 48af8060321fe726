"""`metareward score arena-hard`: judgments and answers in the forms of upstream's versions, and what is odd in them."""

import random
import resource
import subprocess
import sys
from functools import partial

import pytest

from judgments import arena_row, refused, score, write


def without_scores(row):
    return {**row, "games": [{"judgment": game["judgment"]} for game in row["games"]]}


def version_2(row):
    """uid instead of question_id, and texts in objects."""
    games = [{"score": game["score"], "judgment": {"answer": game["judgment"]}, "prompt": []} for game in row["games"]]
    rest = {key: value for key, value in row.items() if key not in ("question_id", "games")}
    return {"uid": row["question_id"], "category": "c", "baseline": "theirs", **rest, "games": games}


def test_every_form_of_arena_hards_judgments(tmp_path):
    rows = [arena_row("a", "A>>B", "A>B"), arena_row("b", "A=B", "B>A"), arena_row("c", "B>>A", "B>>A")]
    expected, said = score("arena-hard", write(tmp_path / "a.jsonl", rows))
    assert expected == {"score": (pytest.approx(100 * (0 * 3 + 1 + 0.5 + 0 + 3 + 0) / 12), 3)}
    assert said == ["Arena-Hard v0.1: mine, judged by judge"]
    assert score("arena-hard", write(tmp_path / "a.jsonl", map(without_scores, rows))) == (expected, said)
    texts = [
        {**row, "games": [{"judgment": game["judgment"]} for game in row["games"]]} for row in map(version_2, rows)
    ]
    assert score("arena-hard", write(tmp_path / "a.jsonl", texts))[0] == expected
    figures, said = score("arena-hard", write(tmp_path / "a.jsonl", map(version_2, rows)))
    assert figures == expected
    assert said == ["Arena-Hard v0.1: mine against theirs, judged by judge"]


def test_games_without_a_verdict_are_counted_and_named(tmp_path):
    good = [arena_row("a", "A>B", "A>B"), arena_row("b", "B>A", "A>>B")]
    expected = score("arena-hard", write(tmp_path / "a.jsonl", good))[0]
    odd = [
        arena_row("c", None, "A<B"),
        arena_row("d", 5, 5),
        {**arena_row("e"), "games": [None, {"judgment": "[[A>B]] or [[B>A]]"}]},
        {**arena_row("f"), "games": [{"judgment": None}, {"judgment": ["[[A>B]]"]}]},
        arena_row("g"),
        {"question_id": "h", "model": "mine", "judge": "judge"},
        arena_row(None, "A>B", "A>B"),
        arena_row("a", "A>B", "A>B"),
        arena_row("b", "B>>A", None),
    ]
    figures, said = score("arena-hard", write(tmp_path / "a.jsonl", good + odd))
    assert figures == expected
    assert said[:-1] == [
        "games without a label: 3 (the first: line 3, game 1, None)",
        "labels that are none of the five, left out: 3 (the first: line 3, game 2, 'A<B')",
        "texts of judges without one label (several_labels), left out: 1 (the first: line 5, game 2)",
        "texts of judges without one label (no_label), left out: 2 (the first: line 6, game 1)",
        "rows without games, left out: 2 (the first: line 7, [])",
        "rows without question_id or uid, left out: 1 (the first: line 9, with the fields question_id, model, judge, "
        "games)",
        "rows that repeat an earlier one, left out: 2 (the first: line 10, game 1, a game 1)",
        "rows that contradict an earlier one, left out: 1 (the first: line 11, game 1, b game 1: 'B>>A' after 'B>A')",
        "rows without a judgment that an earlier row has, left out: 1 (the first: line 11, game 2, b game 2)",
    ]


def test_other_than_two_games_are_named(tmp_path):
    rows = [arena_row("a", "A>B"), arena_row("b", "A>B", "B>A", "B>A")]
    figures, said = score("arena-hard", write(tmp_path / "a.jsonl", rows))
    assert figures == {"score": (0.0, 2)}
    assert said[0] == "rows of other than two games, of which the first two count: 2 (the first: line 1, 1)"


@pytest.mark.parametrize(
    "answer",
    [
        lambda k: {
            "question_id": f"q{k}",
            "model_id": "mine",
            "choices": [{"turns": [{"content": "a", "token_len": k}]}],
        },
        lambda k: {"question_id": f"q{k}", "model_id": "mine", "conv_metadata": {"token_len": k}},
        lambda k: {"uid": f"q{k}", "model": "mine", "metadata": {"token_len": k, "header_count": {"h1": 0}}},
        lambda k: {"uid": f"q{k}", "answer": "a", "token_len": k},
    ],
)
def test_tokens_of_every_form_of_the_answers(tmp_path, answer):
    judged = write(tmp_path / "a.jsonl", [arena_row("q1", "A>B", "A>B")])
    answers = write(tmp_path / "answers.jsonl", [*map(answer, (10, 20, 33)), answer(33), answer(None) | {"uid": "r"}])
    figures, said = score("arena-hard", judged, "--answers", answers)
    assert figures["mean_tokens"] == (21.0, 3)
    assert [line.split(":")[0] for line in said[:-1]] == [
        "rows that repeat an earlier one, left out",
        "answers without token_len, left out",
    ]


def test_answers_of_another_model_are_refused(tmp_path):
    judged = write(tmp_path / "a.jsonl", [arena_row("q1", "A>B", "A>B")])
    answers = write(tmp_path / "answers.jsonl", [{"question_id": "q1", "model_id": "other", "token_len": 3}])
    assert "has answers of 'other', not 'mine'" in refused("arena-hard", judged, "--answers", answers)
    answers = write(tmp_path / "answers.jsonl", [{"question_id": "q1", "model_id": "mine"}])
    assert "has no answer with token_len" in refused("arena-hard", judged, "--answers", answers)


def test_arena_hards_models_and_judges_are_told_apart(tmp_path):
    rows = [arena_row("a", "A>B", "A>B"), arena_row("a", "B>A", "A>B", model="other")]
    path = write(tmp_path / "a.jsonl", rows)
    assert "--model 'mine' | 'other'" in refused("arena-hard", path)
    assert score("arena-hard", path, "--model", "other")[0] == {"score": (100.0, 1)}
    path = write(tmp_path / "a.jsonl", [rows[0], arena_row("b", "A>B", "A>B", judge="another")])
    assert "several names as judge: 'another', 'judge'" in refused("arena-hard", path)
    path = write(tmp_path / "a.jsonl", [arena_row("a", None, None)])
    assert "has no game with a label; its first row has the fields question_id, model" in refused("arena-hard", path)


def test_the_bootstrap_of_500_questions_takes_five_seconds_at_most(tmp_path):
    draw = random.Random(1)
    label = partial(draw.choice, ["A>>B", "A>B", "A=B", "B>A", "B>>A"])
    path = write(tmp_path / "a.jsonl", (arena_row(f"q{k}", label(), label()) for k in range(500)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "from metareward.cli.main import app; app()"
    subprocess.run([sys.executable, "-c", code, "score", "arena-hard", path, "--json"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
