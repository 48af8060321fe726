"""Answers to the public benchmarks, what their judges are asked, and the grades that are read: by hand, on few rows."""

import gzip
import json
import math

import polars as pl
import pytest
from test_benchmark_files import settings

from metareward.engines.common.journal import COMPLETIONS
from metareward.evaluation.alpaca_eval import preference_of
from metareward.evaluation.arena_hard import read_label
from metareward.evaluation.benchmarks import (
    alpaca_eval_rows,
    arena_hard_games,
    benchmark_outcomes,
    benchmark_results,
    category_scores,
    mt_bench_ratings,
)
from metareward.evaluation.mt_bench import read_rating
from metareward.inputs.questions import read_questions
from metareward.roles.alpaca_eval import grade_alpaca_eval, model_first, read_verdict
from metareward.roles.answers import answers_table, first_turn_requests, second_turn_requests
from metareward.roles.arena_hard import GO_ON, grade_arena_hard
from metareward.roles.categories import categories_table, category_requests, read_category
from metareward.roles.grades import answered_questions
from metareward.roles.mt_bench import grade_mt_bench
from metareward.tables import check_table, empty_table, table_of
from metareward.templates.chats import ALPACA_EVAL, ARENA_HARD, CATEGORIES, MT_BENCH, load_chats

from bench import BENCH, needs_bench
from pipeline import ROOT
from tiny import save_tiny_benchmarks

CHATS = {
    "alpaca_eval": {"": [("user", "{instruction}|{output_1}|{output_2}")]},
    "arena_hard": {"": [("system", "Be fair."), ("user", "{question_1}|{answer_1}|{answer_2}")]},
    "mt_bench": {
        name: [("user", f"{name}|" + "|".join(f"{{{f}}}" for f in fields))] for name, fields in MT_BENCH.items()
    },
}


@pytest.fixture
def benchmarks(tmp_path):
    save_tiny_benchmarks(tmp_path)
    return settings(tmp_path)


@pytest.fixture
def questions(benchmarks):
    return check_table(read_questions(benchmarks), "questions")


class Model:
    """Stands in for a checkpoint or a judge: what it says to a request, and what it was asked. No model is loaded."""

    def __init__(self, say):
        self.say, self.asked = say, []

    def __call__(self, requests):
        rows = []
        for request in requests():
            self.asked.append(request)
            said = self.say(request)
            said = said if isinstance(said, dict) else {"text": said}
            rows.append(
                {"request_id": request.id, "sample": 0, "n_tokens": 3, "finish_reason": "stop", "first_logprobs": None}
                | said
            )
        return pl.DataFrame(rows, schema=COMPLETIONS)

    def texts(self):
        return [request.messages[-1]["content"] for request in self.asked]


def answer_all(questions, benchmarks, say):
    """The `answers` of both turns, as stage `answer` makes them, and the model that was asked."""
    model = Model(say)
    first = answers_table(questions, model(lambda: first_turn_requests(questions, benchmarks, 1)), 1)
    second = answers_table(questions, model(lambda: second_turn_requests(questions, first, benchmarks, 1)), 2)
    return check_table(pl.concat([first, second]), "answers"), model


def echo(request):
    return f"re: {request.messages[-1]['content'][:8]}"


# Answers


def test_every_question_is_asked_once_at_upstreams_temperature(questions, benchmarks):
    answers, model = answer_all(questions, benchmarks, echo)
    assert answers.height == 11
    kinds = {
        (request.sampling.temperature, request.sampling.top_p, request.sampling.max_tokens) for request in model.asked
    }
    assert kinds == {(0.7, 1.0, 16), (0.0, 1.0, 16)}
    by_text = {text: request.sampling.temperature for text, request in zip(model.texts(), model.asked, strict=True)}
    assert by_text["Why does ice float?"] == 0.0
    assert by_text["When are bulbs of tulips planted?"] == 0.7
    assert by_text["How long is a rope of two parts of three metres?"] == 0.0  # math
    assert by_text["Now without the letter e."] == 0.7  # writing


@pytest.mark.parametrize(
    ("category", "temperature"),
    [("writing", 0.7), ("roleplay", 0.7), ("stem", 0.1), ("humanities", 0.1)]
    + [(name, 0.0) for name in ("extraction", "math", "coding", "reasoning")]
    + [("another", 0.7), (None, 0.7)],
)
def test_mt_benchs_temperatures_are_upstreams(questions, benchmarks, category, temperature):
    question = questions.filter(benchmark="mt_bench").head(1).with_columns(category=pl.lit(category, pl.String))
    (request,) = first_turn_requests(question, benchmarks, 1)
    assert request.sampling.temperature == temperature


def test_the_second_turn_follows_the_models_own_first_answer_without_its_thought(questions, benchmarks):
    def say(request):
        if "rope" in request.messages[-1]["content"]:
            return "<think>two times three</think>Six."
        return {"text": None, "finish_reason": "too_long"} if "rain" in request.messages[-1]["content"] else "Yes."

    answers, model = answer_all(questions, benchmarks, say)
    ropes, rain = (request for request in model.asked if len(request.messages) == 3)
    assert [message["role"] for message in ropes.messages] == ["user", "assistant", "user"]
    assert [message["content"] for message in ropes.messages[1:]] == ["Six.", "And of five such parts?"]
    assert rain.messages[1]["content"] == ""  # never written
    row = answers.filter(benchmark="mt_bench", question_id="1", turn=1).row(0, named=True)
    assert (row["answer"], row["thought"], row["n_chars"]) == ("Six.", "two times three", 4)
    row = answers.filter(benchmark="mt_bench", question_id="2", turn=1).row(0, named=True)
    assert (row["answer"], row["n_chars"], row["finish_reason"]) == (None, 0, "too_long")


def test_without_questions_nothing_is_asked(benchmarks):
    answers, model = answer_all(empty_table("questions"), benchmarks, echo)
    assert answers.is_empty()
    assert not model.asked


# AlpacaEval


def logprobs(**masses):
    tokens = [{"token": token, "logprob": math.log(mass)} for token, mass in masses.items()]
    return {"text": "m", "finish_reason": "length", "first_logprobs": tokens}


def grade(benchmarks, questions, answers, say, name, read, **changes):
    own = getattr(benchmarks, name)
    own = own.model_copy(update={"judge": own.judge.model_copy(update=changes)})
    maker = {"alpaca_eval": grade_alpaca_eval, "arena_hard": grade_arena_hard, "mt_bench": grade_mt_bench}[name]
    judge, answered = Model(say), answered_questions(questions, answers, name)
    grades = maker(answered, CHATS[name], own, judge, 1, read)
    return check_table(grades, "grades"), judge, answered


def test_a_judge_that_always_prefers_the_first_is_split_by_the_order(questions, benchmarks):
    """P(m) = 3/4: the first output is preferred by 1.25, or 1.75 where that is the model's."""
    answers, _ = answer_all(questions, benchmarks, echo)
    say = lambda _: logprobs(m=0.6, M=0.2, Model=0.1)  # noqa: E731
    grades, judge, answered = grade(benchmarks, questions, answers, say, "alpaca_eval", preference_of)
    instructions = dict(answered.select("question_id", pl.col("turns").list.first()).iter_rows())
    for id_, first, value, label in grades.select("question_id", "model_first", "value", "label").iter_rows():
        assert first == model_first(instructions[id_])
        assert value == pytest.approx(1.75 if first else 1.25)
        assert label == "m"
    assert set(grades["how"]) == {"logprobs"}
    assert set(grades["judge"]) == {"tiny/model"}
    assert grades["model_first"].n_unique() == 2
    sampling = {(request.sampling.max_tokens, request.first_logprobs, request.n) for request in judge.asked}
    assert sampling == {(1, 5, 1)}
    for text, first in zip(judge.texts(), answered["turns"].list.first().map_elements(model_first), strict=True):
        assert text.split("|")[1 if first else 2].startswith("re: ")


@needs_bench
def test_the_order_is_upstreams():
    """As alpaca_eval's own processor switches outputs for its annotator weighted_alpaca_eval_gpt4_turbo."""
    processors = pytest.importorskip("alpaca_eval.processors")
    pandas = pytest.importorskip("pandas")
    rows = gzip.decompress((BENCH / "alpaca_eval_prompts.jsonl.gz").read_bytes()).splitlines()
    instructions = [json.loads(row)["instruction"] for row in rows]
    processor = processors.RandomSwitchTwoColumnsProcessor(
        two_columns_to_switch=["output_1", "output_2"],
        random_seed_columns=["instruction"],
        _switch_column="is_switched_outputs",
        seed=0,
    )
    frame = pandas.DataFrame({"instruction": instructions, "output_1": "baseline", "output_2": "model"})
    shown = processor.preprocess(frame)
    assert [first == "model" for first in shown["output_1"]] == [model_first(text) for text in instructions]


def test_the_order_is_fixed():
    """Drawn by hand from random.Random("is_switched_outputs" + instruction + "0"), whatever the run's seed."""
    assert [model_first(text) for text in "abcdefgh"] == [True, True, False, False, False, True, False, False]


@pytest.mark.parametrize("n_same", [1, 4])
def test_an_output_that_is_the_baselines_is_a_tie_of_which_nobody_is_asked(questions, benchmarks, n_same):
    baselines = questions.filter(benchmark="alpaca_eval")["baseline"].to_list()[:n_same]
    own = dict(questions.filter(benchmark="alpaca_eval").select(pl.col("turns").list.first(), "baseline").iter_rows())
    same = {prompt: text for prompt, text in own.items() if text in baselines}
    answers, _ = answer_all(questions, benchmarks, lambda one: same.get(one.messages[-1]["content"]) or echo(one))
    say = lambda _: logprobs(m=0.6, M=0.2)  # noqa: E731
    grades, judge, _ = grade(benchmarks, questions, answers, say, "alpaca_eval", preference_of)
    assert len(judge.asked) == 4 - n_same
    assert grades.filter(how="same_output").select("value", "finish_reason").rows() == [(1.5, "not_asked")] * n_same
    assert grades["value"].null_count() == 0


def test_tokens_of_the_same_text_count_together_and_none_of_the_two_is_no_label(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)
    twice = logprobs(M=0.25)
    twice["first_logprobs"] += [{"token": "m", "logprob": math.log(0.5)}, {"token": "m", "logprob": math.log(0.25)}]
    said = iter(
        [twice, logprobs(A=0.5), {"text": "m", "finish_reason": "length"}, {"text": None, "finish_reason": "too_long"}]
    )
    grades, _, answered = grade(benchmarks, questions, answers, lambda _: next(said), "alpaca_eval", preference_of)
    value = 1.75 if model_first(answered["turns"][0][0]) else 1.25
    assert grades["value"].to_list() == [pytest.approx(value), None, None, None]
    assert grades["invalid_reason"].to_list() == [None, "no_label", "no_logprobs", "prompt_too_long"]


def test_a_judge_without_log_probabilities_is_read_by_its_text(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)
    said = iter(["m", "Both are fine.\n**M**", "m or M", {"text": "The better", "finish_reason": "length"}])
    grades, judge, answered = grade(
        benchmarks, questions, answers, lambda _: next(said), "alpaca_eval", preference_of, logprobs=False
    )
    first = [model_first(turns[0]) for turns in answered["turns"]]
    assert grades["value"].to_list() == [2.0 if first[0] else 1.0, 1.0 if first[1] else 2.0, None, None]
    assert grades["label"].to_list() == ["m", "M", None, None]
    assert grades["invalid_reason"].to_list() == [None, None, "several_labels", "length"]
    assert set(grades["how"]) == {"text"}
    assert {(request.sampling.max_tokens, request.first_logprobs) for request in judge.asked} == {(24, 0)}


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        ("m", "m", None),
        (" M \n", "M", None),
        ("Model M.", "M", None),
        ('"m"', "m", None),
        ("The output of M errs.\n\nBest: m", "m", None),
        ("m is better than M", None, "several_labels"),
        ("M is better.", None, "no_label"),
        ("I'm", None, "no_label"),
        ("about 12 m", None, "no_label"),
        ("Am", None, "no_label"),
        ("", None, "no_label"),
    ],
)
def test_a_verdict_is_the_label_at_the_end(text, label, reason):
    assert read_verdict(text) == (label, reason)


# Arena-Hard


def test_both_games_are_played_and_a_text_without_a_label_is_gone_on_with_once(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)

    def say(request):
        text = request.messages[1]["content"]
        if len(request.messages) == 4:
            return {"text": "So: [[B>A]]" if "ice" in text else "I can't.", "n_tokens": 5}
        if "ice" in text:
            return "Hm." if text.split("|")[1].startswith("re: ") else "[[A>B]] no, [[B>A]]"
        return "Hm." if "Plan" in text else {"text": "[[A>>B]] and", "finish_reason": "length"}

    grades, judge, _ = grade(benchmarks, questions, answers, say, "arena_hard", read_label)
    rows = grades.select("question_id", "part", "model_first", "label", "invalid_reason", "n_tokens").rows()
    assert rows == [
        ("q1", 1, False, "A>>B", None, 3),  # cut behind its label
        ("q1", 2, True, "A>>B", None, 3),
        ("q2", 1, False, None, "several_labels", 3),  # is not asked again
        ("q2", 2, True, "B>A", None, 8),
        ("q3", 1, False, None, "no_label", 8),
        ("q3", 2, True, None, "no_label", 8),
    ]
    assert grades.filter(question_id="q2", part=2)["grade"].item() == "Hm.\nSo: [[B>A]]"
    assert len(judge.asked) == 6 + 3
    again = [request.messages for request in judge.asked if len(request.messages) == 4]
    assert [message["role"] for message in again[0]] == ["system", "user", "assistant", "user"]
    assert (again[0][2]["content"], again[0][3]["content"]) == ("Hm.", GO_ON)
    shown = dict(zip([(id_, part) for id_, part, *_ in rows], judge.texts(), strict=False))
    assert shown["q2", 1].split("|")[1].startswith("Ice takes")  # game 1: the baseline is A
    assert shown["q2", 2].split("|")[2].startswith("Ice takes")
    sampling = {(request.sampling.temperature, request.sampling.max_tokens) for request in judge.asked}
    assert sampling == {(0.0, 24)}


def test_a_judge_whose_context_is_full_is_not_asked_again(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)
    never = {"text": None, "n_tokens": 0, "finish_reason": "too_long"}
    grades, judge, _ = grade(benchmarks, questions, answers, lambda _: never, "arena_hard", read_label)
    assert (len(judge.asked), set(grades["invalid_reason"])) == (6, {"prompt_too_long"})
    say = lambda request: never if len(request.messages) == 4 else "Hm."  # noqa: E731
    grades, judge, _ = grade(benchmarks, questions, answers, say, "arena_hard", read_label)
    assert (len(judge.asked), set(grades["grade"]), set(grades["invalid_reason"])) == (12, {"Hm."}, {"no_label"})


# MT-Bench


def test_the_first_answer_is_rated_alone_and_the_second_with_the_dialogue(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)
    said = iter(["Rating: [[7]]", "[8]", "good", {"text": "Well, [[3", "finish_reason": "length"}])
    grades, judge, _ = grade(benchmarks, questions, answers, lambda _: next(said), "mt_bench", read_rating)
    assert grades.select("question_id", "part", "value", "invalid_reason").rows() == [
        ("1", 1, 7.0, None),
        ("1", 2, 8.0, None),
        ("2", 1, None, "no_rating"),
        ("2", 2, None, "length"),
    ]
    ropes = "How long is a rope of two parts of three metres?"
    assert judge.texts() == [
        f"single-math-v1|{ropes}|re: How long|Six metres.",
        f"single-math-v1-multi-turn|{ropes}|re: How long|And of five such parts?|re: And of f|Six metres."
        "|Fifteen metres.",
        "single-v1|Write a line about rain.|re: Write a ",
        "single-v1-multi-turn|Write a line about rain.|re: Write a |Now without the letter e.|re: Now with",
    ]


def test_a_grade_that_is_nothing_but_a_thought_is_none(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)
    said = iter(["<think>[[9]]", "<think>[[9]]</think>[[3]]", "<think>[[9]]</think>", "[[4]]"])
    grades, _, _ = grade(benchmarks, questions, answers, lambda _: next(said), "mt_bench", read_rating)
    assert grades["value"].to_list() == [None, 3.0, None, 4.0]
    assert grades["invalid_reason"].to_list() == ["only_thought", None, "only_thought", None]
    assert grades["thought"].to_list() == ["[[9]]", "[[9]]", "[[9]]", None]


@pytest.mark.parametrize("name", ["alpaca_eval", "arena_hard", "mt_bench"])
def test_answers_that_were_never_written_are_graded_as_empty_ones(questions, benchmarks, name):
    answers, _ = answer_all(questions, benchmarks, lambda _: {"text": "<think>hm", "finish_reason": "length"})
    assert answers["answer"].null_count() == answers.height
    read = {"alpaca_eval": preference_of, "arena_hard": read_label, "mt_bench": read_rating}[name]
    grades, judge, _ = grade(benchmarks, questions, answers, lambda _: "[[A=B]] [[5]] m", name, read, logprobs=False)
    assert grades["label"].count() + grades["value"].count() >= grades.height
    assert all("" in text.split("|")[1:] for text in judge.texts())


# Categories


@pytest.mark.parametrize(
    ("text", "category", "reason"),
    [
        ("Food", "Food", None),
        ("I say: food and drink.", "Food and drink", None),  # a name that another one begins with
        ("Food or Travel", None, "several_categories"),
        ("Food, food", "Food", None),
        ("Sport", None, "no_category"),
    ],
)
def test_a_category_is_the_one_name_in_the_text(text, category, reason):
    assert read_category(text, ["Food", "Food and drink", "Travel"]) == (category, reason)


def test_instructions_are_sorted_once_and_win_rates_follow(questions, benchmarks):
    mine = questions.filter(benchmark="alpaca_eval")
    said = iter(["Garden", "Garden", "Kitchen", {"text": None, "finish_reason": "too_long"}])
    judge = Model(lambda _: next(said))
    completions = judge(lambda: category_requests(mine, [("user", "{instruction}")], 1))
    table = check_table(categories_table(mine, completions, ["Garden", "Kitchen"], "org/judge"), "categories")
    assert judge.texts() == [turns[0] for turns in mine["turns"]]
    assert table["category"].to_list() == ["Garden", "Garden", "Kitchen", None]
    assert table["invalid_reason"].to_list() == [None, None, None, "prompt_too_long"]
    rows = pl.DataFrame({"index": [0, 1, 2, 3], "preference": [1.25, 2.0, None, 1.0]})
    scores = category_scores(rows, table, 100, 1)
    found = {score.metric: (score.value, score.n) for score in scores}
    assert found == {"categories_readable": (0.75, 4), "category_garden": (62.5, 2), "category_kitchen": (None, 0)}
    garden = next(score for score in scores if score.metric == "category_garden")
    assert garden.low < 62.5 < garden.high


# Results


def grades_of(name, *rows):
    columns = ("question_id", "part", "model_first", "label", "value", "invalid_reason")
    common = {"benchmark": name, "judge": "org/judge", "how": "text", "n_tokens": 1, "finish_reason": "stop"}
    return table_of([common | dict(zip(columns, row, strict=True)) for row in rows], "grades")


def test_grades_become_what_the_scorers_take(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)
    answered = {name: answered_questions(questions, answers, name) for name in CHATS}
    grades = grades_of("alpaca_eval", ("2", 1, True, "m", 2.0, None), ("0", 1, False, "m", 1.0, None))
    rows = alpaca_eval_rows(answered["alpaca_eval"], grades)
    assert rows.rows()[0] == (0, len("In autumn, before the first frost."), len("re: When are"), 1.0)
    assert rows["preference"].to_list() == [1.0, None, 2.0, None]
    grades = grades_of("arena_hard", ("q3", 2, True, "A>B", None, None), ("q1", 1, False, None, None, "no_label"))
    assert arena_hard_games(answered["arena_hard"], grades).rows() == [("q1", None, 1), ("q3", "A>B", 2)]
    grades = grades_of("mt_bench", ("2", 1, None, None, 4.0, None), ("1", 2, None, None, 8.0, None))
    assert mt_bench_ratings(answered["mt_bench"], grades).rows() == [("1", "math", 2, 8.0), ("2", "writing", 1, 4.0)]


def results(questions, answers, grades):
    name = grades["benchmark"][0]
    mine, answered = answers.filter(benchmark=name), answered_questions(questions, answers, name)
    table = benchmark_results("m1", answered, mine, grades, None, empty_table("categories"), 100, 1)
    return {
        metric: row for metric, *row in check_table(table, "results").select("metric", "value", "n", "referee").rows()
    }


def test_results_carry_the_judges_name_and_count_what_is_cut_empty_or_ungraded(questions, benchmarks):
    def say(request):
        texts = {"How is a dull knife made sharp?": {"text": None, "finish_reason": "too_long"}}
        texts["Name two herbs that like shade."] = {"text": "Mint", "finish_reason": "length"}
        return texts.get(request.messages[-1]["content"], "Mint")

    answers, _ = answer_all(questions, benchmarks, say)
    grades = [("0", 1, True, "m", 1.5, None), ("1", 1, True, "m", 2.0, None), ("2", 1, True, None, None, "no_label")]
    found = results(questions, answers, grades_of("alpaca_eval", *grades, ("3", 1, True, None, None, "no_label")))
    assert found["win_rate"] == [75.0, 2, "org/judge"]
    assert found["mean_length"] == [3.0, 4, None]  # the empty one counts as 0
    assert found["answers_cut"] == [0.25, 4, None]
    assert found["answers_empty"] == [0.25, 4, None]
    assert found["ungraded"] == [0.5, 4, "org/judge"]
    assert found["ungraded_no_label"] == [0.5, 4, "org/judge"]
    assert "length_controlled_win_rate" not in found  # its files are not there
    games = [("q1", 1, False, "A>>B", None, None), ("q1", 2, True, "A=B", None, None)]
    found = results(questions, answers, grades_of("arena_hard", *games))
    assert found["score"] == [12.5, 1, "org/judge"]  # three battles lost, one tie: 0.5 of 4
    assert found["mean_tokens"] == [3.0, 3, None]
    found = results(questions, answers, grades_of("mt_bench", ("1", 1, None, None, 4.0, None)))
    assert (found["mean"], found["category_math"]) == ([4.0, 1, "org/judge"], [4.0, 1, "org/judge"])


def test_what_each_question_brings_adds_up_to_the_figure(questions, benchmarks):
    """So that two checkpoints are compared on the same questions."""
    games = [
        ("q1", 1, False, "A>>B", None, None),
        ("q1", 2, True, "A=B", None, None),
        ("q2", 1, False, "B>A", None, None),
    ]
    games.append(("q3", 2, True, None, None, "no_label"))
    outcomes = benchmark_outcomes("m1", grades_of("arena_hard", *games))
    assert outcomes.select("metric", "referee", "prompt_id", "total", "n").rows() == [
        ("arena_hard_score", "org/judge", "q1", 50.0, 4),
        ("arena_hard_score", "org/judge", "q2", 100.0, 1),
        ("arena_hard_score", "org/judge", "q3", 0.0, 0),
    ]
    answers, _ = answer_all(questions, benchmarks, echo)
    assert results(questions, answers, grades_of("arena_hard", *games))["score"][0] == 150 / 5
    outcomes = benchmark_outcomes("m1", grades_of("alpaca_eval", ("0", 1, True, "m", 1.75, None)))
    assert outcomes.select("metric", "total", "n").rows() == [("alpaca_eval_win_rate", 75.0, 1)]
    turns = [("1", 1, None, None, 4.0, None), ("1", 2, None, None, 8.0, None)]
    outcomes = benchmark_outcomes("m1", grades_of("mt_bench", *turns))
    assert outcomes.select("metric", "total", "n").rows() == [("mt_bench_mean", 12.0, 2)]


def test_our_own_templates_are_filled_to_the_end(questions, benchmarks):
    answers, _ = answer_all(questions, benchmarks, echo)
    answered = {name: answered_questions(questions, answers, name) for name in CHATS}
    read = {"alpaca_eval": preference_of, "arena_hard": read_label, "mt_bench": read_rating}
    fields = {"alpaca_eval": ALPACA_EVAL, "arena_hard": ARENA_HARD, "mt_bench": MT_BENCH}
    makers = {"alpaca_eval": grade_alpaca_eval, "arena_hard": grade_arena_hard, "mt_bench": grade_mt_bench}
    for name, make in makers.items():
        chats = load_chats(ROOT / f"templates/benchmarks/{name}.txt", fields[name], "key")
        judge = Model(lambda _: "[[A=B]] [[5]]")
        make(answered[name], chats, getattr(benchmarks, name), judge, 1, read[name])
        assert judge.asked
        assert not [text for text in judge.texts() if "{" in text.replace("{}", "")]
    chat = load_chats(ROOT / "templates/benchmarks/categories.txt", CATEGORIES, "key")[""]
    (request, *_) = category_requests(questions.filter(benchmark="alpaca_eval"), chat, 1)
    assert "tulips" in request.messages[0]["content"]
