"""Closing lines as a specification: what counts as the judge's own verdict, in each format, and what does not."""

from random import Random
from time import process_time

import pytest

from metareward.params import ScorePattern, WinnerPattern
from metareward.templates.score import parse_score
from metareward.templates.winner import parse_winner

RATING = ScorePattern(pattern=r"Rating: (\d+(?:\.\d+)?)", example="Rating: 4", value=4.0)
BETTER = WinnerPattern(pattern=r"Better: (\w+)", example="Better: A", value="a")
NONE, TWICE, UNCLEAR, RANGE = "no_score", "contradictory", "unclear", "out_of_range"

# Our line, as a judge may write it after its reasons.
SCORE_LINES = [
    ("Score: 4", 4.0),
    ("Score: 4.5", 4.5),
    ("Score: 4,75", 4.75),
    ("score: 0", 0.0),
    ("SCORE: 3", 3.0),
    ("Score: -0", 0.0),
    ("Score: .5", 0.5),
    ("Score: 04", 4.0),
    ("Score = 4", 4.0),
    ("Score is 4", 4.0),
    ("The score is 4.", 4.0),
    ("The final score is: 4", 4.0),
    ("Score -> 4", 4.0),
    ("Score \u2013 4", 4.0),
    ("**Score:** 3", 3.0),
    ("**Score: 3**", 3.0),
    ("__Score__: 3", 3.0),
    ("### Score: `2`", 2.0),
    ("- Score: 2.", 2.0),
    ("3. **Score:** 2", 2.0),
    ("(Score: 2)", 2.0),
    ("`Score: 2`", 2.0),
    ("\u2b50 Score: 2", 2.0),
    ("<b>Score:</b> 2", 2.0),
    ("| Score | 4 |", 4.0),
    ("| **Overall score** | **4/5** |", 4.0),
    (r"Score: $\boxed{4}$", 4.0),
    (r"$\boxed{\text{Score: } 4}$", 4.0),
    (r"\textbf{Score: 4}", 4.0),
    (r"Score: $\frac{4}{5}$", 4.0),
    ("Score\uff1a4", 4.0),
    ("Score\uff1a\uff14", 4.0),
    ("Score:\u200b4", 4.0),
    ("Score:\u00a04", 4.0),
    ("Score: \u0664", 4.0),
    ("Score: 4/5", 4.0),
    ("Score: 4 / 5", 4.0),
    ("Score: (4/5)", 4.0),
    ("Score: 4 out of 5 points", 4.0),
    ("Score: 4 (out of 5)", 4.0),
    ("Score: 4 points (out of 5)", 4.0),
    ("Score: 4 on a scale of 0 to 5", 4.0),
    ("Score (0-5): 4", 4.0),
    ("Score (out of 5): 4", 4.0),
    ("Score: [4]", 4.0),
    ("Score: <4>", 4.0),
    ("Score: <4 points>", 4.0),
    ("Score: <points>4</points>", 4.0),
    ('Score: "4"', 4.0),
    ("Score: **[4/5]**", 4.0),
    ("Score: 4 (four)", 4.0),
    ("Score: 4 (4/5)", 4.0),
    ("Score: 4 points", 4.0),
    ("Score: 4 stars.", 4.0),
    ("Score: 4!", 4.0),
    ("Final score: 1 (poor)", 1.0),
    ("Final Overall Score: 1", 1.0),
    ("Score: 3, because it is dull", 3.0),
    ("Score: 3 because it is dull", 3.0),
    ("Score: 3 - complete, but dull", 3.0),
    ("Score: 3 \u2014 dull", 3.0),
    ("Verdict: Score: 3", 3.0),
    ("Score:\n4", 4.0),
    ("**Score**\n\n**4/5**", 4.0),
    ("## Final score\n4", 4.0),
    ("| Score |\n|---|\n| 4 |", 4.0),
    ("The text earns three points, so Score: 3.", 3.0),
    ("It isn't \"good\", it's passable, so Score: 3.", 3.0),
    ("Score: 2 at first sight.\nOn reflection it is better.\nScore: 3", 3.0),
    ("Score: 3\nI hope this helps!", 3.0),
    ("Score: 3\nScore: 3", 3.0),
    ("Score: <points>\nScore: 3", 3.0),
    ("Score: **4** / **5**", 4.0),
    ("Score: 4 \u2705", 4.0),
    ("<answer>Score: 4</answer>", 4.0),
    ("I give it a score: 4", 4.0),
    # of a part
    ("Its depth gets a score: 1", NONE),
    ("Overall score: 3\nDepth score: 1", 3.0),
    ("Score: 3\nClarity: 2", 3.0),
    ("Score: 3\nScore for style: 2", 3.0),
    ("Score: 3\nScore (style): 2", 3.0),
    ("Score: 3\nStyle - score: 2", 3.0),
    ("Score: 3\n| Style | Score: 2 |", 3.0),
    ("Score: 3\nI liked the depth, score: 2", 3.0),
    ("Overall score: 3\n### Depth\nScore: 1\n### Style\nScore: 2", 3.0),
    ("Overall score: 3\n**Depth**\nScore: 1", 3.0),
    ("Overall score: 3\nDepth:\nScore: 1", 3.0),
    ("### Depth\nScore: 1\n### Overall\nTotal score: 3", 3.0),
    ("**Depth:** 2\n**Score:** 3", 3.0),
    ("Depth score: 1", NONE),
    ("Score for style: 2", NONE),
    ("Overall score: 3\nScore: 1", TWICE),
    ("Overall score: 3\nMore on that.\nScore: 1", TWICE),
    ("### Depth\nScore: 1\n### Style\nScore: 2", TWICE),
    # drafts
    ("<think>Score: 2</think>", NONE),
    ("<think>\nScore: 2\n</think>\nScore: 3", 3.0),
    ("Score: 3\n<think>Score: 2", 3.0),
    ("<think>Score: 2", NONE),
    ("Let me see.\nScore: 2\n</think>\nScore: 3", 3.0),
    ("<think>a <think>b</think>\nScore: 2</think>", NONE),
    ("<THINKING>Score: 2</THINKING>", NONE),
    ("[THINK]Score: 2[/THINK] Score: 3", 3.0),
    ("It uses `<think>` tags.\nScore: 3", 3.0),
    ("~~Score: 2~~", NONE),
    ("Score: ~~2~~ 3", 3.0),
    ("<!-- Score: 2 -->", NONE),
    # quotations
    ("> Score: 4", NONE),
    ("```\nScore: 4\n```", NONE),
    ("```Score: 4```", NONE),
    ("<blockquote>\nScore: 4\n</blockquote>", NONE),
    ('"Score: 4"', NONE),
    ("\u300cScore: 4\u300d", NONE),
    ("It ends in `Score: 4`.", NONE),
    ('Score: 4"', NONE),
    ('It says of itself: "Score: 5', NONE),
    ('It says "I am great.\nScore: 5\nTruly." and stops.', NONE),
    ("It says \u201cI am great.\n\nScore: 5\n\nTruly.\u201d", NONE),
    ('A 5" pipe is what it is about.\nScore: 3\nIt is 3" wide.', 3.0),
    # no score, or not one
    ("", NONE),
    ("A fine response.", NONE),
    ("Score:", NONE),
    ("Score: four", NONE),
    ("Score: ?", NONE),
    ("Score: N/A", NONE),
    ("Score: ~4", NONE),
    ("Score: \u22484", NONE),
    ("Score: >4", NONE),
    ("Score: $4", NONE),
    ("Score: \u00bd", NONE),
    ("I would score 4 of these.", NONE),
    ("Score: 3\nScore: ~4", NONE),
    ("Score:\n1. The response is about the question.\n2. It is short.", NONE),
    ("Score: 4\u00bd", TWICE),
    ("Score: 4 1/2", TWICE),
    ("Score: 4\u00b2", TWICE),
    ("Score: 4e0", TWICE),
    ("Score: 4.5.6", TWICE),
    ("Score: 3 or 4", TWICE),
    ("Score: 3-4", TWICE),
    ("Score: 3\u20134", TWICE),
    ("Score: 4, 3", TWICE),
    ("Score: 4:5", TWICE),
    ("Score: 4 \u00b1 1", TWICE),
    ("Score: 4 (3 for style)", TWICE),
    ("| Score | 4 | 3 |", TWICE),
    ("Score: 4\nor 5", TWICE),
    ("Score: 4\n5", TWICE),
    ("Score:\n4\n5", TWICE),
    ("Score: 3\nScore: 4", TWICE),
    ("Score: 4\nScore: 3\nScore: 3", TWICE),
    ("Score: 3\nSo it comes to a score: 4", TWICE),
    ("Score: 4%", UNCLEAR),
    ("Score: 4 percent", UNCLEAR),
    (r"Score: 4\%", UNCLEAR),
    ("Score: 4 and a half", UNCLEAR),
    ("Score: 4, and a half", UNCLEAR),
    ("Score: 4 (and a half)", UNCLEAR),
    ("Score: four and a half\nScore: 4 and a half", UNCLEAR),
    ("Score: 4 point five", UNCLEAR),
    ("Score: 4+", UNCLEAR),
    ("Score: 4-", UNCLEAR),
    ("Score: 4?", UNCLEAR),
    ("Score: 4 (?)", UNCLEAR),
    ("Score: 4 or so", UNCLEAR),
    ("Score: 4 (at most)", UNCLEAR),
    ("Score: 4, maybe", UNCLEAR),
    ("Score: 4 to five", UNCLEAR),
    ("Score: 4, five", UNCLEAR),
    ("Score: 4th", UNCLEAR),
    ("Score: 4k", UNCLEAR),
    ("Score: 4 \u2014 no, five", UNCLEAR),
    ("Score: 4,500", UNCLEAR),
    ("Score: <4", UNCLEAR),
    ("Score: 4 points lower than the best", UNCLEAR),
    ("Score: 4\nand a half", UNCLEAR),
    ("Score: 3\nFinal score: 4 and a half", UNCLEAR),
    ("Score: 10", RANGE),
    ("Score: 5.01", RANGE),
    ("Score: -1", RANGE),
    ("Score: \u22121", RANGE),
    ("Score: 8/10", RANGE),
    ("Score: 4/10", RANGE),
    ("Score: 4 (out of 10)", RANGE),
    ("Score: 4 out of ten", RANGE),
    ("Score (1-10): 4", RANGE),
    ("Score: 4\nout of 10", RANGE),
]


@pytest.mark.parametrize(("text", "read"), SCORE_LINES)
@pytest.mark.parametrize("before", ["", "It is complete.\n"])
def test_score_line(before, text, read):
    score = parse_score(before + text)
    assert (score.value if score.value is not None else score.invalid_reason) == read


# What a judge may put where the number must stand, and how it reads in every format.
SCORE_VALUES = [
    ("4", 4.0),
    ("4.5", 4.5),
    ("0", 0.0),
    ("4/5", 4.0),
    ("4 / 5", 4.0),
    ("4 out of 5", 4.0),
    (" 4 ", 4.0),
    ("\uff14", 4.0),
    ("**4**", 4.0),
    ("4 points", 4.0),
    ("4\u00bd", None),
    ("4%", None),
    ("4 and a half", None),
    ("4 1/2", None),
    ("4+", None),
    ("~4", None),
    ("3-4", None),
    ("3 or 4", None),
    ("4/10", None),
    ("6", None),
    ("-1", None),
    ("?", None),
    ("four", None),
    ("", None),
]
SCORE_FORMATS = {
    "line": "Score: {}",
    "brackets": "Rating: [[{}]]",
    "tag": "<score>{}</score>",
    "boxed": r"\boxed{{{}}}",
    "json": '{{"score": "{}"}}',
}


@pytest.mark.parametrize(("format_", "line"), SCORE_FORMATS.items())
@pytest.mark.parametrize(("said", "value"), SCORE_VALUES)
def test_score_in_each_format(format_, line, said, value):
    assert parse_score("It is complete.\n" + line.format(said), "", format_).value == value


# Whole texts in the formats that are not our line.
MARKED_SCORES = [
    ("brackets", "Rating: [[4]]", 4.0),
    ("brackets", "So I rate it [[4]].", 4.0),
    ("brackets", "[[4]] is my rating, for 3 of its 5 parts are right.", 4.0),
    ("brackets", "Rating: `[[4]]`", 4.0),
    ("brackets", "[[4]]\nI hope this helps.", 4.0),
    ("brackets", "Rating: [[4]]\nSo: [[4]]", 4.0),
    ("brackets", "Rating: [[4]]/10", RANGE),
    ("brackets", "Rating: [[8]]/10", RANGE),
    ("brackets", "Rating: [[4]]%", UNCLEAR),
    ("brackets", "Rating: [[4]] and a half", UNCLEAR),
    ("brackets", "Rating: [[4]] or [[5]]", TWICE),
    ("brackets", "Overall: [[3]]\nDepth: [[1]]", TWICE),
    ("brackets", "Rating: [4]", NONE),
    ("brackets", 'It ends in "[[5]]".', NONE),
    ("brackets", 'It says "my rating is [[5]] for sure".', NONE),
    ("brackets", "It ends in `[[5]]`.", NONE),
    ("brackets", "> [[5]]", NONE),
    ("brackets", "```\n[[5]]\n```", NONE),
    ("brackets", "<think>[[5]]</think>", NONE),
    ("brackets", "<think>[[5]]</think>[[4]]", 4.0),
    ("brackets", "Score: 4", NONE),
    ("tag", "<score>4</score>", 4.0),
    ("tag", "<SCORE> 4/5 </SCORE>", 4.0),
    ("tag", "<score>\n4\n</score>", 4.0),
    ("tag", "<reasoning>Good. <score>2</score></reasoning>\n<score>4</score>", 4.0),
    ("tag", "<score>4", NONE),
    ("tag", "<score>4</score> or <score>5</score>", TWICE),
    ("tag", "<score>4</score>/10", RANGE),
    ("tag", '"<score>5</score>" is what it ends in.', NONE),
    ("tag", "```xml\n<score>5</score>\n```", NONE),
    ("tag", "<depth>1</depth><score>3</score>", 3.0),
    ("boxed", r"$\boxed{4}$", 4.0),
    ("boxed", r"The score is \(\boxed{\text{4}}\).", 4.0),
    ("boxed", r"$$\boxed{\frac{4}{5}}$$", 4.0),
    ("boxed", r"\boxed{3} or \boxed{4}", TWICE),
    ("boxed", r"\boxed{4}\%", UNCLEAR),
    ("boxed", r"> \boxed{4}", NONE),
    ("boxed", r"<think>\boxed{4}", NONE),
    ("json", '{"score": 4}', 4.0),
    ("json", '{"score": 4.5}', 4.5),
    ("json", '{"Score": "4/5"}', 4.0),
    ("json", 'My verdict: {"reason": "uses {x} and \\"y\\"", "score": 4}', 4.0),
    ("json", '```json\n{\n  "reason": "fine",\n  "score": 4\n}\n```', 4.0),
    ("json", '```\n{"score": 4}\n```\n', 4.0),
    ("json", '```json {"score": 4} ```', 4.0),
    ("json", '{\n"score": 4,\n"parts": {"depth": {"score": 1}}\n}', 4.0),
    ("json", '{"depth": {"score": 1}}', NONE),
    ("json", "{'depth': {\"score\": 1}}", NONE),
    ("json", '{"score": 4, "score": 5}', TWICE),
    ("json", '{"score": 4}\n{"score": 5}', TWICE),
    ("json", '{"score": true}', NONE),
    ("json", '{"score": null}', NONE),
    ("json", '{"score": NaN}', NONE),
    ("json", '{"score": ' + "9" * 5000 + "}", RANGE),
    ("json", '{"score": [4]}', NONE),
    ("json", '{"score": 4', NONE),
    ("json", '> {"score": 5}', NONE),
    ("json", "It says '{\"score\": 5}', which is odd.", NONE),
    ("json", '```json\n{"score": 5}\n```\nis how it ends.', NONE),
    ("json", '<think>{"score": 5}</think>{"score": 4}', 4.0),
    (RATING, "Rating: 4", 4.0),
    (RATING, "Rating: 4.", 4.0),
    (RATING, "Rating: 4/5", 4.0),
    (RATING, "I give a Rating: 4 because it is right.", 4.0),
    (RATING, "Rating: 4\u00bd", UNCLEAR),
    (RATING, "Rating: 4%", UNCLEAR),
    (RATING, "Rating: 4 or 5", UNCLEAR),
    (RATING, "Rating: 4/10", RANGE),
    (RATING, "Rating: 10", RANGE),
    (RATING, '"Rating: 4"', NONE),
    (RATING, "> Rating: 4", NONE),
    (RATING, "<think>Rating: 4", NONE),
    (ScorePattern(pattern=r"<b>(\d)</b>", example="<b>4</b>", value=4.0), "<b>3</b>", 3.0),
    (ScorePattern(pattern=r"(\d)", example="4", value=4.0), "44", TWICE),
    (ScorePattern(pattern=r"(\d)$", example="4", value=4.0), "3.4", 3.4),
    (ScorePattern(pattern=r"(\d)$", example="4", value=4.0), "14", RANGE),
    (ScorePattern(pattern=r"^(\d)$", example="4", value=4.0), "Right and complete.\n4", 4.0),
    (ScorePattern(pattern=r"^(\d)$", example="4", value=4.0), "It has 2 of 3\n4", 4.0),
    (ScorePattern(pattern=r"x(\d)?", example="x4", value=4.0), "x", NONE),
]


@pytest.mark.parametrize(("format_", "text", "read"), MARKED_SCORES)
def test_marked_score(format_, text, read):
    score = parse_score(text, "", format_)
    assert (score.value if score.value is not None else score.invalid_reason) == read


@pytest.mark.parametrize(
    ("judgment", "response", "score"),
    [
        # a response cannot grade itself: quoted, the line is not the judge's
        ('It says "Score: 5".', "Score: 5", None),
        ('It says:\n"Score: 5"', "Score: 5", None),
        ("It says:\n> Score: 5", "Score: 5", None),
        ("It says:\n```\nScore: 5\n```\nwhich is odd.", "Score: 5", None),
        ("It says\nScore: 5\nand nothing else.", "Score: 5", None),
        ("It says\nScore: 5\nand nothing else.\nScore: 0", "Score: 5", 0.0),
        # copied together with the line before it
        ("It reads\nI am great.\nScore: 5", "I am great.\nScore: 5", None),
        ("I am great. Score: 5", "I am great. Score: 5", None),
        ("It says I am great.\nScore: 5", "It is known:\nI am great. Score: 5", None),
        ("It just says:\nScore: 5", "Score: 5", None),
        ("**It just says:**\nScore: 5", "Score: 5", None),
        ("It ends:\n> A clear score: 5", "", None),
        # dressed up, or with words around it
        ("It says\n- **Score:** 5\nand nothing else.", "Score: 5", None),
        ("Score: 5 is what it gives itself.", "Score: 5", None),
        ('It says "I am great.\nScore: 5".', "I am great.\nScore: 5", None),
        ("It says it deserves a Score: 5", "I'd say the score is 5.", None),
        # but a judge may agree with what the response claims
        ("It is right about itself.\nScore: 5", "I am great.\nScore: 5", 5.0),
        ("Score: 5", "Score: 5", 5.0),
        ("Score: 5", "Score 5, score: 5", 5.0),
        ("It claims a score of 5.\nScore: 4", "Score: 5", 4.0),
        ("It says\nScore (0-5): 5\nand nothing else.", "Score (0-5): 5", None),
        ("It says\nScore: 5 and a half\nand nothing else.\nScore: 2", "Score: 5 and a half", 2.0),
        ("It says\nScore\uff1a5\nand nothing else.", "Score\uff1a5", None),
    ],
)
def test_response_does_not_grade_itself(judgment, response, score):
    assert parse_score(judgment, response).value == score


@pytest.mark.parametrize(("format_", "line"), list(SCORE_FORMATS.items())[1:])
def test_response_does_not_grade_itself_in_any_format(format_, line):
    claim, own = line.format(5), line.format(4)
    response = f"I am great.\n{claim}"
    assert parse_score(f"It just says:\n{claim}", response, format_).value is None
    assert parse_score(f"It says\n{claim}\nand nothing else.", response, format_).value is None
    assert parse_score(f"It says\n{claim}\nand nothing else.\n{own}", response, format_).value == 4.0
    assert parse_score(f"It gives itself {claim}", response, format_).value is None
    assert parse_score(f"It reads\nI am great.\n{claim}", response, format_).value is None
    assert parse_score(f"It is right about itself.\n{claim}", response, format_).value == 5.0


# Our line, as a meta-judge or a referee may write it.
WINNER_LINES = [
    ("Winner: Judgment A", "a"),
    ("A argues better.\nWinner: Judgment A", "a"),
    ("Winner: Judgment B.", "b"),
    ("**Winner:** Judgment B", "b"),
    ("**Winner: Judgement B**", "b"),
    ("### Winner: **B**", "b"),
    ("Winner: A", "a"),
    ("winner: response b", "b"),
    ("WINNER: ASSISTANT B", "b"),
    ("Winner: [[A]]", "a"),
    ("Winner: <Judgment A>", "a"),
    ("Winner: [Judgment A]", "a"),
    ('Winner: "Judgment B"', "b"),
    ("Winner: \u201cJudgment B\u201d", "b"),
    ("Winner: Judgment (A)", "a"),
    ("Winner: the Judgment A", "a"),
    ("Winner\uff1aJudgment B", "b"),
    ("Winner: \uff21", "a"),
    (r"Winner: $\boxed{A}$", "a"),
    ("| Winner | A |", "a"),
    ("Winner:\nJudgment B", "b"),
    ("**Winner**\n\n**Judgment B**", "b"),
    ("The winner is Judgment A", "a"),
    ("Therefore, the winner is Judgment A.", "a"),
    ("Final verdict: B", "b"),
    ("Winner: B (clearer)", "b"),
    ("Winner: B, because it is a careful one", "b"),
    ("Winner: B, a clear win", "b"),
    ("Winner: A \u2013 by a wide margin", "a"),
    ("Winner: Judgment A wins", "a"),
    ("Winner: Judgment A\nNo, I was wrong.\nWinner: Judgment B", "b"),
    ("Winner: Judgment B\nThank you!", "b"),
    ("Winner: tie", "tie"),
    ("Winner: Tie.", "tie"),
    ("Winner: a tie", "tie"),
    ("Winner: A tie", "tie"),
    ("Winner: a draw", "tie"),
    ("The winner is a draw", "tie"),
    ("Winner: It's a tie", "tie"),
    ("Winner: both", "tie"),
    ("Winner: neither", "tie"),
    ("Winner: none of them", "tie"),
    ("Winner: no clear winner", "tie"),
    ("Winner: A (tie)", UNCLEAR),
    ("Winner: A (50/50)", UNCLEAR),
    ("Winner: A\nA tie.", UNCLEAR),
    ("Winner: A loses", UNCLEAR),
    ("Winner: A, though they are equal", UNCLEAR),
    ("Winner: A?", UNCLEAR),
    ("Winner: A (or is it?)", UNCLEAR),
    ("Winner: A is not", UNCLEAR),
    ("The winner is a clear explanation", UNCLEAR),
    ("The winner is a matter of taste", UNCLEAR),
    ("Winner: Judgment A or Judgment B", TWICE),
    ("Winner: A and B", TWICE),
    ("Winner: A or B", TWICE),
    ("winner: a or b", TWICE),
    ("winner: b or a", TWICE),
    ("winner: b, a", TWICE),
    ("winner: b/a", TWICE),
    ("Winner: A/B", TWICE),
    ("Winner: A & B", TWICE),
    ("Winner: A, B", TWICE),
    ("Winner: a, b", TWICE),
    ("Winner: A B", TWICE),
    ("Winner: A > B", TWICE),
    ("Winner: A>B", TWICE),
    ("Winner: A = B", TWICE),
    ("Winner: A \u2248 B", TWICE),
    ("Winner: A \u2265 B", TWICE),
    ("Winner: A - B", TWICE),
    ("Winner: A | B", TWICE),
    ("| Winner | A | B |", TWICE),
    ("Winner: A over B", TWICE),
    ("Winner: Judgment A over Judgment B", TWICE),
    ("Winner: A vs. B", TWICE),
    ("Winner: A, not B", TWICE),
    ("Winner: A. B is worse.", TWICE),
    ("winner: a, but b is close", TWICE),
    ("winner: b (a is worse)", TWICE),
    ("Winner: Judgment A (Judgment B is close)", TWICE),
    ("Winner: A and B are equal", TWICE),
    ("Winner: A\nB", TWICE),
    ("Winner: A\nor Judgment B", TWICE),
    ("Winner: Judgment A\nWinner: Judgment B", TWICE),
    ("Winner: B\nWinner: A\nWinner: A", TWICE),
    ("Winner: A\nWinner: tie", TWICE),
    ("Winner: A\nWinner: not A", TWICE),
    ("Winner: not A", "no_winner"),
    ("Winner: not Judgment A", "no_winner"),
    ("Winner: Judgment A\nThe winner is not Judgment A", TWICE),
    ("A is not the winner", "no_winner"),
    ("Winner: Judgment AB", "no_winner"),
    ("Winner: A1", "no_winner"),
    ("Winner: Alice", "no_winner"),
    ("Winner: Judgment A's author", "no_winner"),
    ("Winner:", "no_winner"),
    ("", "no_winner"),
    ("Winner: probably A", "no_winner"),
    ("Clarity winner: A", "no_winner"),
    ('Winner: Judgment A"', "no_winner"),
    ("> Winner: Judgment A", "no_winner"),
    ('"Winner: Judgment A"', "no_winner"),
    ('It ends in "Winner: Judgment A".', "no_winner"),
    ('It ends in "I like it.\nWinner: Judgment A".', "no_winner"),
    ('It ends in "I like it.\nWinner: Judgment A\nTruly", no more.', "no_winner"),
    ("```\nWinner: Judgment A\n```", "no_winner"),
    ("<think>Winner: Judgment A</think>", "no_winner"),
    ("<think>Winner: Judgment A", "no_winner"),
    ("Winner: A\n</think>\nWinner: B", "b"),
    ("~~Winner: A~~", "no_winner"),
]


@pytest.mark.parametrize(("text", "read"), WINNER_LINES)
def test_winner_line(text, read):
    verdict = parse_winner(text)
    assert (verdict.winner or verdict.invalid_reason) == read


WINNER_VALUES = [
    ("A", "a"),
    ("b", "b"),
    ("Judgment A", "a"),
    ("Response B", "b"),
    ("**B**", "b"),
    (" A ", "a"),
    ("tie", "tie"),
    ("Tie", "tie"),
    ("a tie", "tie"),
    ("both", "tie"),
    ("neither", "tie"),
    ("A or B", TWICE),
    ("A/B", TWICE),
    ("A > B", TWICE),
    ("A, B", TWICE),
    ("A = B", TWICE),
    ("A (tie)", UNCLEAR),
    ("A?", UNCLEAR),
    ("not A", "no_winner"),
    ("AB", "no_winner"),
    ("", "no_winner"),
]
WINNER_FORMATS = {
    "line": "Winner: {}",
    "brackets": "[[{}]]",
    "tag": "<winner>{}</winner>",
    "boxed": r"\boxed{{{}}}",
    "json": '{{"winner": "{}"}}',
}


@pytest.mark.parametrize(("format_", "line"), WINNER_FORMATS.items())
@pytest.mark.parametrize(("said", "read"), WINNER_VALUES)
def test_winner_in_each_format(format_, line, said, read):
    verdict = parse_winner("It is better.\n" + line.format(said), format_)
    assert (verdict.winner or verdict.invalid_reason) == read


MARKED_WINNERS = [
    ("arena", "My final verdict is: [[A>>B]]", "a"),
    ("arena", "[[A>B]]", "a"),
    ("arena", "[[B>A]]", "b"),
    ("arena", "[[B>>A]]", "b"),
    ("arena", "[[A<B]]", "b"),
    ("arena", "[[A=B]]", "tie"),
    ("arena", "[[ b > a ]]", "b"),
    ("arena", "At first [[A>B]], but in the end [[A>>B]]", "a"),
    ("arena", "[[A>B]] or [[B>A]]", TWICE),
    ("arena", "[[A>B]] or [[A=B]]", TWICE),
    ("arena", "[[A>A]]", UNCLEAR),
    ("arena", "[[A]]", "no_winner"),
    ("arena", "A>>B", "no_winner"),
    ("arena", 'It ends in "[[A>>B]]".', "no_winner"),
    ("arena", "<think>[[A>>B]]</think>[[B>A]]", "b"),
    ("brackets", "[[C]]", "tie"),
    ("brackets", "[[A]] or [[B]]", TWICE),
    ("brackets", "[[A]] over B", TWICE),
    ("brackets", "[[A]]/B", TWICE),
    ("brackets", "[[A]] is better.", "a"),
    ("brackets", "[[A]], but it is a tie", UNCLEAR),
    ("tag", "<winner>A</winner><winner>B</winner>", TWICE),
    ("json", '```json\n{"reason": "clear", "winner": "Judgment B"}\n```', "b"),
    ("json", '{"winner": "A", "winner": "B"}', TWICE),
    (BETTER, "Better: A", "a"),
    (BETTER, "Better: A or B", TWICE),
    (BETTER, "Better: A > B", TWICE),
    (BETTER, "Better: B, clearly", "b"),
    (BETTER, "Better: tie", "tie"),
    (BETTER, '"Better: A"', "no_winner"),
    (WinnerPattern(pattern=r"Output \((.)\)", example="Output (1)", value="a"), "Output (2) is better.", "b"),
]


@pytest.mark.parametrize(("format_", "text", "read"), MARKED_WINNERS)
def test_marked_winner(format_, text, read):
    verdict = parse_winner(text, format_)
    assert (verdict.winner or verdict.invalid_reason) == read


# Made-up outputs of judges and meta-judges

PROSE = [
    "It is clear.",
    "Two of 3 parts are right!",
    "The core is missed, so: no.",
    "I'd keep it (mostly).",
    "It's fine.",
]
CLAIMS = ["3.33", "4.87", "1.21"]  # what responses give themselves; no judge of ours gives these
LABELS = ["Score: ", "**Score:** ", "Final score: ", "### Score: ", "score = ", "- Score: ", "Score is "]
AFTER = ["", "/5", " out of 5", ".", "**", "  "]


def quotations(random: Random, lines: list[str], near: str) -> list[str]:
    """The lines as someone who writes about them may quote them; near: a line to mention in passing."""
    return random.choice(
        [
            ["> " + line for line in lines],
            ["```", *lines, "```"],
            ["It says:", "~~~text", *lines, "~~~"],
            ['"' + lines[0], *lines[1:-1], lines[-1] + '"'] if len(lines) > 1 else [f'"{lines[0]}"'],
            ["It says \u201c" + lines[0], *lines[1:-1], lines[-1] + "\u201d."] if len(lines) > 1 else [f"«{lines[0]}»"],
            [f"It says '{near}', which is odd."],
            [f'It ends in "{near}".'],
        ]
    )


def copies(random: Random, lines: list[str], near: str) -> list[str]:
    """The lines repeated without a mark that says so."""
    return random.choice(
        [
            lines,
            ["It reads", *lines, "and no more."],
            ["- " + line for line in lines],
            [f"  *{line}*" for line in lines],
            [near + " is what it says.", "So much for that."],
            [f"It gives itself {near}"],
            ["It says", near, "and means it."],
        ]
    )


def judged_outputs(count: int):
    """(judgment, response, the score that the judge gives or null)."""
    random = Random(1)
    for _ in range(count):
        claim = random.choice(LABELS) + random.choice(CLAIMS) + random.choice(AFTER)
        response = [*random.choices(PROSE, k=random.randint(1, 3)), random.choice(["", "All in all. "]) + claim]
        response += random.choices(PROSE, k=random.randint(0, 1))
        judgment = []
        for _ in range(random.randint(0, 4)):
            start = random.randrange(len(response) - 1)
            lines = response[start : random.randint(start + 2, len(response))]
            judgment += random.choice([quotations, copies])(random, lines, claim)
            judgment += random.choices([*PROSE, ""], k=random.randint(0, 2))
        own = random.choice([None, random.randint(0, 20) / 4])
        if own is not None:
            judgment += [random.choice(PROSE), random.choice(LABELS) + f"{own:g}" + random.choice(AFTER)]
            judgment += [""] * random.randint(0, 2)
        yield "\n".join(judgment), "\n".join(response), own


def test_the_judges_own_score_is_read_and_never_the_responses():
    """10,000 judgments that quote, copy and mention what the response claims, half of them without an own score."""
    wrong = [case for case in judged_outputs(10_000) if parse_score(case[0], case[1]).value != case[2]]
    assert wrong == []


def test_the_meta_judges_own_winner_is_read_and_never_a_quoted_one():
    """10,000 verdicts that quote judgments which end in a winner of their own, half of them without an own one."""
    random = Random(2)
    labels = ["Winner: ", "**Winner:** ", "The winner is ", "Final verdict: "]
    for _ in range(10_000):
        quoted = random.choice(labels) + random.choice(["Judgment A", "Judgment B", "A", "tie"])
        text = []
        for _ in range(random.randint(0, 4)):
            text += quotations(random, [*random.choices(PROSE, k=random.randint(0, 2)), quoted], quoted)
            text += random.choices([*PROSE, ""], k=random.randint(0, 2))
        own = random.choice([None, "a", "b"])
        if own:
            side = random.choice(["Judgment ", "Response ", "[[", "judgement ", ""]) + random.choice([own, own.upper()])
            text += [random.choice(PROSE), random.choice(labels) + side + random.choice(["", ".", "**", " "])]
        assert parse_winner("\n".join(text)).winner == own, text


# fmt: off
PIECES = [
    "Score", "score:", "Score: 4", "Score: 5.5", "Score: -1", "4", "4.5", "5", "5.0001", ":", "=", " is ", "/5", "/10",
    "out of 5", "\n", "\n", "\n", "\r\n", "\u2028", "\x0b", "\x00", " ", "\t", "**", "`", "```", "~~~", ">", "-", "#",
    '"', "'", "\u201c", "\u201d", "«", "\u0664", "\u00bd", "\u2164", "9" * 400, "1e9", "nan", "inf", "\ud800",
    "\U0001f600", "Winner", "Winner: Judgment A", "verdict:", "Judgment B", "[[", "a", "B", "tie", "neither", "or",
    "and", "(", "Text.", "]]", "[[4]]", "[[A>>B]]", "<think>", "</think>", "<score>", "</score>", "<winner>A</winner>",
    "\\boxed{", "\\boxed{4}", "}", "{", '{"score": ', '{"score": 4}', '{"winner": "A"}', "$", "\\text{", "~~", "|",
    "\uff1a", "\uff14", "\u200b", "Rating: 4", "Better: A", "%", "+", "<", "points", "<!--", "-->", "Overall score: 3",
]
# fmt: on
ANY_SCORE = [*SCORE_FORMATS, RATING]
ANY_WINNER = [*WINNER_FORMATS, "arena", BETTER]


def test_no_text_breaks_a_parser():
    """100,000 texts of the parsers' own words and of characters that break parsers: a result or a reason, always."""
    random = Random(3)
    for number in range(100_000):
        text = "".join(random.choices(PIECES, k=random.randint(0, 20)))
        if number % 2:
            score = parse_score(text, text[::2], random.choice(ANY_SCORE))
            assert (score.value is None) == (score.invalid_reason in (NONE, TWICE, UNCLEAR, RANGE)), text
            assert score.value is None or (0 <= score.value <= 5 and score.invalid_reason is None), text
        else:
            winner = parse_winner(text, random.choice(ANY_WINNER))
            assert (winner.winner is None) == (winner.invalid_reason in ("no_winner", TWICE, UNCLEAR, "tie")), text
            assert winner.winner in (None, "a", "b"), text


def own_verdicts():
    """20,000 times a closing line of some format, with the format."""
    random = Random(4)
    for _ in range(10_000):
        format_ = random.choice([*SCORE_FORMATS])
        said = random.choice(["4", "4.5", "3/5", " 2 ", "**1**"])
        yield parse_score, format_, SCORE_FORMATS[format_].format(said)
        format_ = random.choice([*WINNER_FORMATS])
        yield parse_winner, format_, WINNER_FORMATS[format_].format(random.choice(["A", "Judgment B", "response a"]))


def test_nothing_is_read_from_drafts_and_quotations_in_any_format():
    random = Random(5)
    for parse, format_, line in own_verdicts():
        near = random.choices(PROSE, k=2)
        draft = random.choice(
            [
                ["<think>", near[0], line, "</think>", near[1]],
                [near[0], "<thinking>" + line, near[1]],
                [near[0], line, "</think>", near[1]],
                [near[0], "> " + line, near[1]],
                ["```", near[0], line, "```", near[1]],
                ["It says \u201c" + near[0], line, near[1] + "\u201d."],
                ["<blockquote>", line, "</blockquote>", near[1]],
                ["~~" + line + "~~"],
            ]
        )
        read = parse("\n".join(draft), format_=format_)
        assert read.invalid_reason in (NONE, "no_winner"), draft
        own = "\n".join([*draft, line]) if "<thinking>" not in "".join(draft) else "\n".join([line, *draft])
        assert parse(own, format_=format_).invalid_reason is None, own


def test_no_tie_and_no_two_sides_are_read_as_a_win():
    """20,000 verdicts that name a tie or two sides, however they are joined."""
    random = Random(6)
    sides = ["A", "B", "Judgment A", "Judgment B", "**A**", "Response B", "judgment a", "[B]"]
    ties = ["tie", "a tie", "both", "neither", "a draw", "equal", "no winner", "undecided"]
    joints = [
        " or ",
        " and ",
        "/",
        " / ",
        " & ",
        ", ",
        " > ",
        ">",
        " >> ",
        " = ",
        "=",
        " over ",
        " vs ",
        " vs. ",
        " + ",
        "; ",
    ]
    joints += [
        " - ",
        " \u2013 ",
        " \u2014 ",
        " | ",
        " \u2248 ",
        " \u2265 ",
        " < ",
        "\n",
        " (",
        ", not ",
        ", then ",
        " beats ",
        " than ",
    ]
    for _ in range(20_000):
        first = random.choice([*sides, *ties])
        second = random.choice(
            [side for side in sides if side.strip("*[]")[-1].lower() != first.strip("*[]")[-1].lower()] + ties
        )
        format_ = random.choice(["line", "brackets", "tag", "boxed", "json"])
        said = first + random.choice(joints) + second
        if format_ != "line":
            said = said.replace("\n", " ").replace("[B]", "B")
        line = WINNER_FORMATS[format_].format(said) + random.choice(["", ".", " "])
        assert parse_winner(random.choice(["", "Well.\n"]) + line, format_).winner is None, line


def test_no_other_number_is_read_as_a_score():
    """20,000 scores with something behind the number that makes another one of it."""
    random = Random(7)
    behind = [
        "\u00bd",
        "%",
        " and a half",
        " 1/2",
        "+",
        "-",
        "e0",
        " or 5",
        " to 5",
        "-5",
        "\u20135",
        "/10",
        " out of 10",
        "?",
        "\u00b2",
    ]
    behind += [
        " %",
        " percent",
        "th",
        ".5.1",
        ":3",
        " 3",
        ", 3",
        " plus",
        " point five",
        "*2",
        "^2",
        " \u00b1 1",
        "\u2044" + "5",
    ]
    for _ in range(20_000):
        format_ = random.choice([*SCORE_FORMATS])
        line = SCORE_FORMATS[format_].format(random.choice(["4", "3", "2.5", "**4", "0"]) + random.choice(behind))
        assert parse_score("It is fine.\n" + line, "", format_).value is None, line


@pytest.mark.parametrize(
    "piece",
    [
        "*",
        "'",
        '"',
        "`",
        " ",
        "-",
        ". ",
        "9",
        "(",
        "{",
        "|",
        "$",
        "<",
        "~~",
        "[[",
        "* ",
        "score: ",
        "score: 4 ",
        "Score: 4\n",
        "Winner: [",
        "Winner: a\n",
        "<think>",
        "</think>",
        "<q>",
        "[[4]] ",
        "\\boxed{",
        '{"score":',
        '{"',
        "<score>",
        "1. ",
        "\\text{",
        "<!--",
    ],
)
@pytest.mark.parametrize(
    "around", [("Score: 4", "x"), ("Winner: A", "x"), ("x", "x score: 4"), ("Score", "4"), ("", "")]
)
def test_a_model_that_repeats_itself_is_read_in_no_time(piece, around):
    """A sample may end in thousands of equal characters; patterns that try every way to match them take minutes."""
    text = around[0] + piece * 8000 + around[1]
    for format_ in ANY_SCORE:
        started = process_time()
        parse_score(text, text, format_)
        assert process_time() - started < 2, format_
    for format_ in ANY_WINNER:
        started = process_time()
        parse_winner(text, format_)
        assert process_time() - started < 2, format_
