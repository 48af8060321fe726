"""What stands between <think> tags is kept apart: never read, judged, compared or trained on."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metareward.engines.common.batches import EncodedRequest, completion
from metareward.engines.common.interface import Completion, Request, Sampling
from metareward.errors import UserError
from metareward.load_params import load_params
from metareward.roles.actor import responses_table
from metareward.roles.judge import judged_responses, judgments_table, watch_judgments
from metareward.roles.referee import comparisons_table, pair_responses
from metareward.roles.thoughts import split_thought, with_thoughts
from metareward.roles.verdicts import with_winners
from metareward.selection.scores import mark_duplicates, score_statistics
from metareward.tables import check_table

ROOT = Path(__file__).parents[1]
PROMPTS = pl.DataFrame({"prompt_id": ["p"], "prompt": ["Why?"], "source": ["test"]})


def completions(request_id, *texts, finish_reason="stop"):
    columns = {"request_id": [request_id] * len(texts), "sample": range(len(texts)), "text": texts}
    frame = pl.DataFrame(columns, schema_overrides={"text": pl.String, "sample": pl.Int64})
    return frame.with_columns(n_tokens=pl.lit(3, pl.Int64), finish_reason=pl.lit(finish_reason))


@pytest.mark.parametrize(
    ("text", "thought", "said"),
    [
        ("So.", None, "So."),
        (" So.\n", None, " So.\n"),  # without a tag nothing is touched
        ("", None, ""),
        ("<think>\nhm\n</think>\n\nSo.", "hm", "So."),
        ("hm\n</think>\n\nSo.", "hm", "So."),  # the prompt had opened the tag
        ("<think>hm, cut", "hm, cut", None),
        ("So.\n<think>hm, cut", "hm, cut", "So."),
        ("<think>hm</think>", "hm", None),
        ("<think>\n\n</think>\n\nSo.", None, "So."),
        ("<think></think>", None, ""),
        ("a<think>b</think>c<think>d</think>e", "b\nd", "ace"),
        ("<think>a<think>b</think>c</think>d", "a\nb\nc", "d"),
        ("a</think>b</think>c", "a\nb", "c"),
        ("<think>a</think>So <b>it</b> is.", "a", "So <b>it</b> is."),
        ("I think> so", None, "I think> so"),
    ],
)
def test_a_text_and_its_thought(text, thought, said):
    assert split_thought(text) == (thought, said)


pieces = st.sampled_from(["<think>", "</think>", "a", "b", " ", "\n", "<", "think>"])


def letters(*texts):
    untagged = "".join(text or "" for text in texts).replace("<think>", "").replace("</think>", "")
    return sorted(character for character in untagged if character in "ab")


@given(st.lists(pieces, max_size=12).map("".join))
def test_no_tag_is_left_and_nothing_is_lost(text):
    thought, said = split_thought(text)
    assert letters(thought, said) == letters(text)
    assert thought != ""
    if said and "<think>" in said:
        assert "think>" in text.replace("<think>", "").replace("</think>", "")  # made of what tags left behind


def test_responses_hold_what_follows_the_thought():
    written = completions("p", "<think>x</think>Yes.", "y</think>Yes.", "<think>x</think>", "Yes.", None)
    table = check_table(responses_table(written), "responses")
    assert table["response"].to_list() == ["Yes.", "Yes.", None, "Yes.", None]
    assert table["thought"].to_list() == ["x", "y", "x", None, None]
    assert table["n_chars"].to_list() == [4, 4, 0, 4, 0]
    same = responses_table(completions("p", "Yes."))
    assert table["response_id"][0] == same["response_id"][0]  # an id is of what is said
    marked = mark_duplicates(table)
    assert marked["duplicate_of"].is_not_null().to_list() == [False, True, False, True, False]
    assert judged_responses(PROMPTS, marked)["response"].to_list() == ["Yes."]
    assert pair_responses(PROMPTS, table.head(1), same)["model"].to_list() == ["Yes."]
    assert pair_responses(PROMPTS, table.slice(2, 1), same).is_empty()


def test_a_response_that_is_only_a_thought_has_no_score():
    responses = mark_duplicates(responses_table(completions("p", "<think>x", "Yes.")))
    judged = judged_responses(PROMPTS, responses)
    judgments = judgments_table(judged, completions(judged["response_id"][0], "Good.\nScore: 4"), "line")
    assert score_statistics(responses, judgments)["mean"].to_list() == [None, 4.0]


def test_judgments_and_verdicts_are_read_from_what_follows_the_thought():
    judged = judged_responses(PROMPTS, mark_duplicates(responses_table(completions("p", "Yes."))))
    texts = ["<think>Score: 1</think>Good.\nScore: 4", "<think>Score: 1</think>", "Score: 1</think>Hm.", None]
    judgments = check_table(judgments_table(judged, completions(judged["response_id"][0], *texts), "line"), "judgments")
    assert judgments["score"].to_list() == [4.0, None, None, None]
    assert judgments["invalid_reason"].to_list() == [None, "only_thought", "no_score", "prompt_too_long"]
    assert judgments["judgment"].to_list() == ["Good.\nScore: 4", None, "Hm.", None]
    cut = completions(judged["response_id"][0], "<think>Score: 1", finish_reason="length")
    cut = judgments_table(judged, cut, "line")
    assert cut.select("score", "invalid_reason", "thought").row(0) == (None, "length", "Score: 1")
    texts = ["<think>Winner: Judgment A</think>So.\nWinner: Judgment B", "<think>A"]
    verdicts = with_winners(completions("b", *texts), "line")
    assert verdicts.select("winner", "invalid_reason", "thought").rows() == [
        ("b", None, "Winner: Judgment A"),
        (None, "only_thought", "A"),
    ]


def test_the_watch_over_unreadable_texts_reads_what_follows_the_thought():
    """A <think> that the prompt opened, and a score in it alone, is unreadable; a score behind it is not."""
    judged = judged_responses(PROMPTS, mark_duplicates(responses_table(completions("p", "Yes."))))
    (id_,) = judged["response_id"]
    settings = load_params(ROOT / "profiles/tiny.yaml").judge
    good = [Completion(id_, n, "Score: 1</think>Good.\nScore: 4", 3, "stop") for n in range(2)]
    watch_judgments(judged, settings, 2, "judge@m1")(good)
    thoughts = [Completion(id_, n, "<think>Hm.</think>", 3, "stop") for n in range(2)]
    with pytest.raises(UserError, match="only_thought 2"):
        watch_judgments(judged, settings, 2, "judge@m1")(thoughts)


def test_comparisons_keep_the_thought():
    compared = pl.DataFrame({"prompt_id": ["p"], "prompt": ["Why?"], "model": ["a"], "baseline": ["b"]})
    from metareward.roles.referee import _comparison_id

    both = [completions(_comparison_id("p", first), "<think>t</think>Winner: Response A") for first in (True, False)]
    table = check_table(comparisons_table(compared, pl.concat(both), "line"), "comparisons")
    assert table["thought"].to_list() == ["t", "t"]


def test_a_thought_that_the_prompt_opened_is_told_also_where_it_was_cut():
    """Without its opening tag a cut thought would look like a response."""
    from chat_models import KINDS

    r1 = KINDS["deepseek_r1"]()
    request = Request("p", [{"role": "user", "content": "a"}], 1, Sampling(0.0, 1.0, 8), 1)
    ids = r1("hm, cut", add_special_tokens=False)["input_ids"]
    written = completion(r1, EncodedRequest(request, [], 8), 0, ids, "length", [])
    assert (written.text, written.n_tokens, written.finish_reason) == ("<think>\nhm, cut", len(ids), "length")
    frame = with_thoughts(pl.DataFrame([vars(written)]))
    assert frame.select("thought", "text").row(0) == ("hm, cut", None)


def test_with_thoughts_keeps_rows_and_types():
    frame = completions("p", None, "a")
    assert with_thoughts(frame).drop("thought").equals(frame)
    assert with_thoughts(frame.clear()).schema["thought"] == pl.String
