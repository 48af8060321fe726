"""Write docs/worked-example.md, one prompt from responses to both preference pairs: python docs/worked_example.py

Every number in it is what the library makes of the texts below.
"""

from pathlib import Path

import numpy as np
import polars as pl

from metareward.params import TemplateFiles
from metareward.roles.judge import judge_messages, judged_responses
from metareward.selection.actor_pairs import select_actor_pairs
from metareward.selection.battles import choose_responses, list_battles
from metareward.selection.elo import fit_elo, position_weights
from metareward.selection.judge_pairs import select_judge_pairs
from metareward.selection.scores import mark_duplicates, score_statistics
from metareward.tables import TABLES, check_table
from metareward.templates.score import parse_score
from metareward.templates.texts import load_templates
from metareward.templates.winner import parse_winner

RHO, RIDGE, MAX_JUDGMENT_CHARS = 0.32, 0.01, 1000
ROOT = Path(__file__).parents[1]

PROMPT = "Why is the sky blue?"
RESPONSES = [
    "Sunlight holds all colours. Air molecules scatter the short waves, blue, far more than the long ones, red, so "
    "blue light reaches the eye from every part of the sky.",
    "Air scatters blue light more than red, so the sky shines blue.",
    "It mirrors the sea.",
    "The sky is blue because blue is the colour of the sky, as you can see on any fine day, and it has been so for "
    "a long time.",
    "It mirrors the sea.",
]
JUDGMENTS = [
    ["Clear and right.\nScore: 4.5", "Nothing is missing.\nScore: 5", "Right.\nScore: 4/5"],
    ["Short and right.\nScore: 4", "The core is there.\nScore: 4", "Good.\n**Score: 4**"],
    ["A myth, but to the point.\nScore: 1", "Wrong.\nScore: 0", "Nobody can tell."],
    [
        "It is pleasant to read and about the sky.\nScore: 3",
        "It goes in a circle and explains nothing.\nScore: 0",
        "It is on topic, yet gives no cause.\nScore: 1.5",
    ],
]
# (shown first, shown second): how the meta-judgment ends, for the judgments of response 3
VERDICTS = {
    (0, 1): "Winner: Judgment B",
    (1, 0): "Winner: Judgment A",
    (0, 2): "Winner: Judgment B",
    (2, 0): "Winner: Judgment B",
    (1, 2): "Winner: Judgment B",
    (2, 1): "Winner: Judgment B",
}
# the battles of the iteration's other prompt: 8 wins of the first position, 1 of the second, 3 without a verdict
OTHER_VERDICTS = ["a"] * 8 + ["b"] + [None] * 3


def table(name: str, rows: list[dict[str, object]], **columns: object) -> pl.DataFrame:
    """A table of its schema from rows of what matters here; texts bring their lengths, the rest is the same for all."""
    common = {"prompt_id": "p", "n_tokens": 1, "finish_reason": "stop", "duplicate_of": None, **columns}
    schema = dict(TABLES[name].columns)
    return check_table(pl.DataFrame([{**common, **row} for row in rows], schema=schema), name)


def markdown(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table; numbers with as many decimals as they have, four at most, and no -0."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:z.4f}".rstrip("0").rstrip(".")
        return "" if value is None else str(value).replace("\n", " / ")

    rows = [frame.columns, ["---"] * frame.width, *([cell(value) for value in row] for row in frame.iter_rows())]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write() -> str:
    """The page."""
    prompts = table("prompts", [{"prompt": PROMPT}], source="docs")
    responses = mark_duplicates(
        table(
            "responses",
            [{"response_id": f"r{k}", "sample": k, "response": r, "n_chars": len(r)} for k, r in enumerate(RESPONSES)],
        )
    )
    rows = []
    for k, texts in enumerate(JUDGMENTS):
        for n, text in enumerate(texts):
            score = parse_score(text, RESPONSES[k])
            rows.append(
                {"response_id": f"r{k}", "judgment_id": f"r{k}.{n}", "sample": n, "judgment": text, **vars(score)}
            )
    judgments = table("judgments", [{**row, "score": row["value"], "n_chars": len(row["judgment"])} for row in rows])
    scores = score_statistics(responses, judgments)
    best, worst = scores["mean"].max(), scores["mean"].min()
    reach = RHO * (best - worst)
    actor_pairs, _ = select_actor_pairs(prompts, responses, scores, RHO, None)
    plain_pairs, _ = select_actor_pairs(prompts, responses, scores, 0.0, None)
    actor, plain = actor_pairs.row(0, named=True), plain_pairs.row(0, named=True)

    choices = choose_responses(prompts, scores, seed=1)
    chosen = choices["response_id"].item()
    listed = list_battles(choices, judgments)
    ends = [VERDICTS[int(a[-1]), int(b[-1])] for a, b in listed.select("judgment_a", "judgment_b").iter_rows()]
    here = [
        {**row, "battle_id": str(k), "meta_judgment": end, **vars(parse_winner(end))}
        for k, (row, end) in enumerate(zip(listed.iter_rows(named=True), ends, strict=True))
    ]
    pairs = [(f"s.{m}", f"s.{n}") for m in range(4) for n in range(4) if m != n]
    other = [
        {"prompt_id": "q", "response_id": "s", "judgment_a": a, "judgment_b": b, "winner": winner, "battle_id": a + b}
        for (a, b), winner in zip(pairs, OTHER_VERDICTS, strict=True)
    ]
    battles = table("battles", here + other)
    decided = battles.drop_nulls("winner")
    wins_first = decided.filter(pl.col("winner") == "a").height
    w1, w2 = position_weights(battles["winner"])
    elo = fit_elo(battles, RIDGE).filter(pl.col("prompt_id") == "p")
    ids, rating = elo["judgment_id"].to_list(), elo["elo"].to_numpy()
    wins = np.zeros((len(ids), len(ids)))
    for row in here:
        m, n = ids.index(row["judgment_a"]), ids.index(row["judgment_b"])
        if row["winner"] == "a":
            wins[m, n] += w1
        elif row["winner"] == "b":
            wins[n, m] += w2
    chance = 1 / (1 + np.exp(rating[None, :] - rating[:, None]))
    check = pl.DataFrame(
        {
            "judgment": ids,
            "Elo": rating,
            **{
                f"chance against {name}": np.where(rating == rating[k], np.nan, chance[:, k])
                for k, name in enumerate(ids)
            },
            "won": wins.sum(1),
            "expected": ((wins + wins.T) * chance).sum(1),
        }
    ).fill_nan(None)
    matrix = pl.DataFrame({"B": ids, **{f"against {name}": wins[:, k] for k, name in enumerate(ids)}})
    files = {name: str(ROOT / f"templates/{name}.txt") for name in TemplateFiles.model_fields}
    templates = load_templates(TemplateFiles(**files))
    asked = judge_messages(judged_responses(prompts, responses).filter(pl.col("response_id") == chosen), templates)
    judge_pairs, _ = select_judge_pairs(prompts, choices, judgments, elo, asked, MAX_JUDGMENT_CHARS)
    judge = judge_pairs.row(0, named=True)

    return f"""# A worked example

This page follows one prompt from its responses to its two preference pairs, with a pencil.
`python docs/worked_example.py` writes it with the library's own numbers, and a test fails when page and code disagree.
The paper has 7 responses to a prompt and 11 judgments of a response; here there are 5 and 3.

## 1. Responses

> {PROMPT}

{markdown(responses.select("response_id", "response", "n_chars", "duplicate_of"))}

r4 repeats r2. It is marked, and takes no part from here on.

## 2. Judgments and scores

The judge writes three judgments of each response. The score of a judgment is the last one in it that is the judge's
own. (`/` stands for a line break.)

{markdown(judgments.select("judgment_id", "judgment", "score", "invalid_reason"))}

r2.2 names no score, so it is invalid. It stays in the table with its reason, and counts in no mean.

{markdown(scores.select("response_id", "n_valid", "mean", "variance", "n_chars"))}

The mean of r3 is (3 + 0 + 1.5) / 3 = 1.5, its variance (1.5² + 1.5² + 0²) / 3 = 1.5. That of r2 is over the two valid
scores: mean (1 + 0) / 2 = 0.5, variance (0.5² + 0.5²) / 2 = 0.25.

## 3. The actor pair

Length control has rho = {RHO}. The best mean is {best:g}, the worst {worst:g}, and rho times their difference is
{RHO} * {best - worst:g} = {reach:.2f}.

- Good enough to be chosen: means in [{best - reach:.2f}, {best:g}], which are \
{names(scores.filter(pl.col("mean") >= best - reach))}. The shortest of them is **{actor["chosen_id"]}** \
({actor["chosen_chars"]} characters).
- Poor enough to be rejected: means in [{worst:g}, {worst + reach:.2f}], which are \
{names(scores.filter(pl.col("mean") <= worst + reach))}. The longest of them is **{actor["rejected_id"]}** \
({actor["rejected_chars"]} characters).

The pair is ({actor["chosen_id"]}, {actor["rejected_id"]}). Its margin is {actor["chosen_score"]:g} - \
{actor["rejected_score"]:g} = {actor["margin"]:g}. With rho = 0 the pair would be ({plain["chosen_id"]}, \
{plain["rejected_id"]}): the best mean against the worst, whatever their lengths.

## 4. Battles

The judge is least certain about {chosen}, whose scores have the highest variance, \
{choices["variance"].item():g}. Its three
valid judgments meet each other in both orders, {len(here)} battles:

{markdown(pl.DataFrame(here).select(first="judgment_a", second="judgment_b", verdict="meta_judgment", winner="winner"))}

The position weights come from all battles of the iteration. Suppose that its other prompt had 12 battles: the first
position won 8, the second 1, and 3 had no readable verdict. Together with the battles above, the first position won
{wins_first} of {decided.height}, the second {decided.height - wins_first}. So a win counts

- w1 = {decided.height - wins_first}/{decided.height} = {w1:g} from the first, favoured position,
- w2 = {wins_first}/{decided.height} = {w2:g} from the second.

Each judgment's weighted wins against each other one:

{markdown(matrix)}

r3.1 beat r3.0 from both positions: w1 + w2 = 1. In the battles of r3.0 and r3.2, and in those of r3.1 and r3.2, the
second position won each time, so either side has w2.

## 5. Elo

A judgment whose Elo lies d above another's beats it with probability 1 / (1 + exp(-d)). At the Elos of highest
likelihood every judgment has won exactly what its Elo makes one expect. What one expects is a sum over its opponents:
the weight of their battles times the chance to win one. Here the Elos are ln 2 = 0.6931, 0 and -ln 2:

{markdown(check)}

Take r3.1. Against r3.0, exp(-2 ln 2) = 1/4 gives 1 / (1 + 1/4) = 4/5; against r3.2, exp(-ln 2) = 1/2 gives 2/3. It is
expected to win 1 * 4/5 + (0.6 + 0.6) * 2/3 = 0.8 + 0.8 = 1.6, and it won 1 + 0.6 = 1.6. A chain of wins leads from each
judgment to each other (r3.0 beat r3.2, which beat r3.1, which beat r3.0). So these Elos are finite without a ridge, and
`ridge` is {elo["ridge"].max():g} in the table.

## 6. The judge pair

**{judge["chosen_id"]}** has the highest Elo, **{judge["rejected_id"]}** the lowest. The margin is \
{judge["chosen_elo"]:.4f} - ({judge["rejected_elo"]:.4f}) = {judge["margin"]:.4f}. The chosen
judgment has {judge["chosen_chars"]} characters, fewer than the limit of {MAX_JUDGMENT_CHARS}, so the pair stays. DPO
sees

- as prompt the judge prompt of {chosen}, {len(judge["messages"][0]["content"])} characters with the rubric,
- chosen: {line(judge["chosen"])}
- rejected: {line(judge["rejected"])}

The actor pair taught the model to write shorter and better; this one teaches it that the severe judgment was right.
"""


def names(scores: pl.DataFrame) -> str:
    return " and ".join(f"{name} ({mean:g})" for name, mean in scores.select("response_id", "mean").iter_rows())


def line(text: str) -> str:
    return "*" + text.replace("\n", " / ") + "*"


if __name__ == "__main__":
    (ROOT / "docs" / "worked-example.md").write_text(write(), encoding="utf-8")
