"""`metareward score mt-bench`: judgments as FastChat writes them, and what is odd in them."""

from judgments import mt_row, refused, score, write


def test_mt_benchs_ratings(tmp_path):
    rows = [mt_row(81, 1, 9), mt_row(81, 2, 7.5), mt_row(111, 1, 3), mt_row(111, 2, -1)]
    figures, said = score("mt-bench", write(tmp_path / "a.jsonl", rows))
    assert figures == {
        "mean": (6.5, 3),
        "turn_1": (6.0, 2),
        "turn_2": (7.5, 1),
        "category_math": (3.0, 1),
        "category_writing": (8.25, 2),
    }
    assert said == [
        "rows without a score: 1 (the first: line 4, -1)",
        "MT-Bench: mine, judged by gpt-4",
    ]
    texts = [{key: value for key, value in row.items() if key != "score"} for row in rows]
    assert score("mt-bench", write(tmp_path / "a.jsonl", texts))[0] == figures


def test_odd_ratings_are_counted_and_named(tmp_path):
    good = [mt_row(81, 1, 9), mt_row(81, 2, 8)]
    expected = score("mt-bench", write(tmp_path / "a.jsonl", good))[0]
    odd = [
        mt_row(82, 1, None),
        mt_row(82, 2, 85),
        mt_row(83, 1, [9]),
        {**mt_row(83, 2, 0), "score": -2},
        mt_row(80, 1, 5),
        mt_row("81", 1, 5),
        mt_row(84, 3, 5),
        mt_row(81, 1, 9),
        mt_row(81, 2, 1),
    ]
    figures, said = score("mt-bench", write(tmp_path / "a.jsonl", good + odd))
    assert figures == expected
    assert said[:-1] == [
        "rows without a score: 1 (the first: line 3, None)",
        "scores that are no rating, left out: 3 (the first: line 4, 85)",
        "rows that match no question of the benchmark, left out: 2 (the first: line 7, question_id 80)",
        "rows of a turn other than 1 and 2, left out: 1 (the first: line 9, turn 3)",
        "rows that repeat an earlier one, left out: 1 (the first: line 10, question 81 turn 1)",
        "rows that contradict an earlier one, left out: 1 (the first: line 11, question 81 turn 2: 1.0 after 8.0)",
    ]


def test_mt_benchs_models_and_questions(tmp_path):
    rows = [mt_row(1, 1, 9), mt_row(1, 1, 3, model="other")]
    path = write(tmp_path / "a.jsonl", rows)
    questions = write(tmp_path / "q.jsonl", [{"question_id": 1, "category": "riddles"}])
    assert "--model 'mine' | 'other'" in refused("mt-bench", path, "--questions", questions)
    figures, _ = score("mt-bench", path, "--questions", questions, "--model", "other")
    assert figures["category_riddles"] == figures["mean"] == (3.0, 1)
    assert "has no rating of a question" in refused("mt-bench", path, "--model", "mine")
    questions = write(tmp_path / "q.jsonl", [{"question_id": "1"}])
    assert "question_id is '1'; it must be a whole number" in refused("mt-bench", path, "--questions", questions)
