"""From tables to requests, and from completions back to tables."""

import math
from pathlib import Path

import polars as pl
import pytest

from metareward.engines.common.interface import Completion
from metareward.engines.common.interface import Sampling as EngineSampling
from metareward.engines.common.journal import COMPLETIONS
from metareward.errors import UserError
from metareward.params import Judge, MetaJudge, Samples, ScorePattern, TemplateFiles
from metareward.params import SamplingSettings as Sampling
from metareward.roles.actor import response_requests, responses_table
from metareward.roles.judge import judged_responses, judgment_requests, judgments_table, watch_judgments
from metareward.roles.meta_judge import battle_requests, battles_table, watch_verdicts
from metareward.selection.battles import list_battles
from metareward.selection.scores import mark_duplicates
from metareward.tables import check_table
from metareward.templates.texts import load_templates

FOLDER = Path(__file__).parents[1] / "templates"
TEMPLATES = load_templates(TemplateFiles(**{name: str(FOLDER / f"{name}.txt") for name in TemplateFiles.model_fields}))
PROMPTS = pl.DataFrame({"prompt_id": ["p"], "prompt": ["Why?"], "source": ["test"]})
SETTINGS = Samples(n=3, temperature=0.8, top_p=0.95, max_tokens=16)


def completions(request_id, *texts, finish_reason="stop"):
    return pl.DataFrame(
        {
            "request_id": [request_id] * len(texts),
            "sample": range(len(texts)),
            "text": texts,
            "n_tokens": [3] * len(texts),
            "finish_reason": [finish_reason] * len(texts),
        },
        schema_overrides={"text": pl.String, "sample": pl.Int64},
    )


def test_responses():
    (request,) = response_requests(PROMPTS, SETTINGS, seed=7)
    assert (request.id, request.n, request.messages) == ("p", 3, [{"role": "user", "content": "Why?"}])
    assert (request.sampling, request.seed) == (EngineSampling(0.8, 0.95, 16), 7)
    table = check_table(responses_table(completions("p", "Because.", "Because.", None)), "responses")
    assert table["n_chars"].to_list() == [8, 8, 0]
    assert table["response_id"].n_unique() == 3  # equal texts of different samples are different rows


def judged():
    responses = mark_duplicates(responses_table(completions("p", "Because.", "Because.", None)))
    return judged_responses(PROMPTS, responses)


def test_only_written_responses_are_judged_and_duplicates_once():
    assert judged()["response"].to_list() == ["Because."]


def test_judgments():
    (request,) = judgment_requests(judged(), TEMPLATES, SETTINGS, seed=7)
    assert "Because." in request.messages[0]["content"]
    good = completions(request.id, "Fine.\nScore: 3", "Fine.", None)
    table = check_table(judgments_table(judged(), good, "line"), "judgments")
    assert table["score"].to_list() == [3.0, None, None]
    assert table["invalid_reason"].to_list() == [None, "no_score", "prompt_too_long"]
    equal = judgments_table(judged(), completions(request.id, "Score: 3", "Score: 3"), "line")
    assert equal["judgment_id"].n_unique() == 2  # equal texts of different samples are different rows
    cut = judgments_table(judged(), completions(request.id, "Score: 3", finish_reason="length"), "line")
    assert cut.select("score", "invalid_reason").row(0) == (None, "length")


def test_scores_by_the_first_token_are_the_mean_of_its_digits():
    """By hand: 3 with probability 0.5, 4 with 0.25 as two tokens; what is no score from 0 to 5 does not count."""
    (request,) = judgment_requests(judged(), TEMPLATES, SETTINGS, 7, "first_token")
    assert request.first_logprobs == 20
    likely = {"3": 0.5, "4": 0.125, " 4": 0.125, "9": 0.1, "34": 0.05, "Score": 0.1}
    first = [{"token": token, "logprob": math.log(share)} for token, share in likely.items()]
    texts = ["3, thin", "9, fine", "4, right", None]
    likeliest = COMPLETIONS["first_logprobs"]
    found = completions(request.id, *texts).with_columns(first_logprobs=pl.Series([first] * 4, dtype=likeliest))
    pattern = ScorePattern(pattern="^([0-9]),", example="4, right", value=4.0)
    table = check_table(judgments_table(judged(), found, pattern, "first_token"), "judgments")
    mean = pytest.approx((3 * 0.5 + 4 * 0.25) / 0.75)
    assert table["expected"].to_list() == [mean, None, mean, None]
    assert table["score"].to_list() == [3.0, None, 4.0, None]
    assert table["invalid_reason"].to_list() == [None, "out_of_range", None, "prompt_too_long"]
    said = judgments_table(judged(), found, pattern)
    assert said["score"].to_list() == [3.0, None, 4.0, None]
    assert said["expected"].to_list() == [None] * 4


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("3, thin", [("Well", 1.0)]),
        ("3, thin", None),
        ("<think>1. The reply is short.</think>3, thin", [("1", 0.7), ("3", 0.1)]),
        ("Well: 3, thin", [("Well", 0.9), ("0", 0.1)]),
        ("1 of 2 parts: 3, thin", [("1", 0.9), ("3", 0.1)]),  # begins with a number that is not its score
        ("3, thin", [(" ", 0.97), ("0", 0.02), ("3", 0.01)]),  # a tokenizer's blank before the digit
        ("3, thin", [("3", 0.3), ("4", 0.1), ("The", 0.6)]),  # scores are not what it would most likely begin with
    ],
)
def test_a_judgment_whose_first_token_is_no_score_is_unreadable(text, first):
    (request,) = judgment_requests(judged(), TEMPLATES, SETTINGS, 7, "first_token")
    pattern = ScorePattern(pattern="([0-5]),", example="4, right", value=4.0)
    likely = None if first is None else [{"token": token, "logprob": math.log(share)} for token, share in first]
    found = completions(request.id, text).with_columns(
        first_logprobs=pl.Series([likely], dtype=COMPLETIONS["first_logprobs"])
    )
    table = judgments_table(judged(), found, pattern, "first_token")
    assert table.select("score", "expected", "invalid_reason").row(0) == (None, None, "no_first_digit")
    assert judgments_table(judged(), found, pattern)["score"].to_list() == [3.0]
    logprobs = None if first is None else [(token, math.log(share)) for token, share in first]
    one = Completion(request.id, 0, text, 5, "stop", first_logprobs=logprobs)
    settings = JUDGE.model_copy(update={"format": pattern})
    with pytest.raises(UserError, match="no_first_digit 1"):
        watch_judgments(judged(), settings, 1, "judge@m1", "first_token")([one])
    watch_judgments(judged(), settings, 1, "judge@m1")([one])


def test_battles():
    (request,) = judgment_requests(judged(), TEMPLATES, SETTINGS, seed=7)
    judgments = judgments_table(judged(), completions(request.id, "x\nScore: 3", "y\nScore: 1", "no score"), "line")
    choices = judged().select("prompt_id", "response_id")
    listed = list_battles(choices, judgments)
    settings = Sampling(temperature=0.8, top_p=0.95, max_tokens=16)
    requests = list(battle_requests(listed, PROMPTS, judged(), judgments, TEMPLATES, settings, seed=7))
    assert len(requests) == 2  # two valid judgments, both orders
    verdicts = pl.concat([completions(requests[0].id, "Winner: Judgment A"), completions(requests[1].id, "A tie.")])
    battles = check_table(battles_table(listed, verdicts, "line"), "battles")
    assert set(battles["winner"]) == {"a", None}
    shown = dict(judgments.select("judgment_id", "judgment").iter_rows())
    content = requests[0].messages[0]["content"]
    assert content.index(shown[listed["judgment_a"][0]]) < content.index(shown[listed["judgment_b"][0]])


JUDGE = Judge(n=3, temperature=0.8, top_p=0.95, max_tokens=16, format="line", read="text")


def judgments_like(*texts):
    response_id = judged()["response_id"].item()
    reasons = {"cut": "length", None: "prompt_too_long"}
    return [Completion(response_id, number, text, 3, reasons.get(text, "stop")) for number, text in enumerate(texts)]


def test_a_stage_stops_when_more_than_half_of_its_first_judgments_are_unreadable():
    watch = watch_judgments(judged(), JUDGE, 6, "judge@m1")
    watch(judgments_like("Score: 1", "no score", "cut"))
    watch(judgments_like("Score: 2"))
    with pytest.raises(UserError) as error:
        watch(judgments_like("It is \n10 of 10", "8/10", "Score: 1"))
    assert str(error.value).startswith(
        "judge@m1: 4 of the first 6 texts cannot be read (no_score 3, length 1). Three of them: "
        "no_score: ...'no score'; length: ...'cut'; no_score: ...'It is \\n10 of 10'. "
        "Each must end as judge.format says (line)."
    )


def test_a_stage_goes_on_when_half_of_its_first_judgments_can_be_read():
    for texts in (["Score: 1", "no score"] * 3, ["Score: 1"] * 6 + ["no score"] * 600):
        watch = watch_judgments(judged(), JUDGE, 6, "judge@m1")
        for text in texts:
            watch(judgments_like(text))
    watch_judgments(judged(), JUDGE, 6, "judge@m1")(judgments_like(*["no score"] * 5))  # too few to tell
    watch_judgments(judged(), JUDGE, 6, "judge@m1")(judgments_like(*[None] * 9))  # never asked
    watch_judgments(judged(), JUDGE, None, "judge@m1")(judgments_like(*["no score"] * 600))


def test_a_tie_is_a_verdict_that_can_be_read():
    settings = MetaJudge(temperature=0.8, top_p=0.95, max_tokens=16, format="arena")
    watch_verdicts(settings, 2, "meta_judge@m1")(judgments_like("[[A=B]]", "[[A>>B]]"))
    with pytest.raises(UserError, match=r"meta_judge@m1: 2 of the first 2 .* meta_judge\.format says \(arena\)"):
        watch_verdicts(settings, 2, "meta_judge@m1")(judgments_like("Winner: A", "Winner: B"))
