"""What else than better answers and a better judge could explain the figures of the run at hand.

    python docs/confounds.py

Prints Markdown tables: the referee's scores at equal length and form, likelihoods by three measures, and the judge's
agreement by the length of the better reply. By prompt, with 95% bootstrap intervals. For a run with evaluate.compare:
scores and evaluate.likelihood.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from metareward.evaluation.held_out import pair_outcomes
from metareward.evaluation.intervals import bootstrap_mean
from metareward.inputs.replies import read_replies
from metareward.load_params import load_params

DATA = Path("data")
ROUNDS, SEED = 10_000, 1
NEAR = 20  # characters, within which two responses are of one length
PER_TOKEN = pl.col("logprob") / pl.col("n_tokens")


def main() -> None:
    params = load_params(Path("params.yaml"))
    judged = read_replies(Path(params.evaluate.judged), "evaluate.judged", params.evaluate.n_judged_prompts)
    names = params.checkpoints
    scored = {name: scored_responses(name) for name in names}
    forms(scored)
    against(scored, "seed", names[1:])
    for before, after in pairwise(names[1:]):
        against(scored, before, [after])
    likelihoods(names, judged)
    agreement(names, judged)


def scored_responses(name: str) -> pl.DataFrame:
    """prompt_id, n_chars, cut, broken (it has a blank line), score (by the referee) of a checkpoint's responses."""
    responses = pl.read_parquet(DATA / "evaluations" / name / "responses.parquet")
    judgments = pl.read_parquet(DATA / "comparisons" / name / "judgments.parquet")
    scores = judgments.group_by("response_id").agg(score=pl.col("expected").mean())
    return responses.join(scores.drop_nulls(), on="response_id").select(
        "prompt_id",
        "n_chars",
        "score",
        cut=pl.col("finish_reason") == "length",
        broken=pl.col("response").str.contains("\n\n", literal=True),
    )


def forms(scored: dict[str, pl.DataFrame]) -> None:
    """Of responses that were cut, and so have one number of tokens."""
    rows = []
    for name, all_ in scored.items():
        cut = all_.filter("cut")
        with_, without = cut.filter("broken")["score"].mean(), cut.filter(~pl.col("broken"))["score"].mean()
        rows.append(
            (
                name,
                cut.height,
                number(cut["broken"].mean()),
                number(with_),
                number(without),
                number(cut["score"].mean()),
            )
        )
    show("Responses that were cut", ["", "n", "with a blank line", "score with", "without", "all"], rows)


def against(scored: dict[str, pl.DataFrame], before: str, names: Iterable[str]) -> None:
    """The score of a checkpoint's response less that of another's, prompt by prompt, and who has the higher one."""
    same = {
        "all": pl.lit(True),
        f"within {NEAR} characters": (pl.col("n_chars") - pl.col("n_chars_other")).abs() <= NEAR,
        "both cut": pl.col("cut") & pl.col("cut_other"),
        "both cut, both with a blank line": pl.all_horizontal("cut", "cut_other", "broken", "broken_other"),
    }
    rows = []
    for name in names:
        both = scored[name].join(scored[before], on="prompt_id", suffix="_other").sort("prompt_id")
        for words, kept in same.items():
            difference = both.filter(kept).select(pl.col("score") - pl.col("score_other")).to_series()
            won = difference.sign() / 2 + 0.5
            rows.append((name, words, len(difference), interval(difference, -5, 5, 3), interval(won, 0, 1, 2)))
    show(f"Against {before}", ["", "prompts", "n", "score less its", "win rate"], rows)


def likelihoods(names: list[str], judged: pl.DataFrame) -> None:
    """Whether the better of two replies is the likelier one."""
    rows, found = [], {}
    for name in names:
        table = judged.join(
            pl.read_parquet(DATA / "likelihoods" / name / "reply_likelihoods.parquet"), on="response_id"
        )
        if table.is_empty():
            return
        levels = table.group_by("rank").agg(PER_TOKEN.mean()).sort("rank")["logprob"]
        measures = {
            "by token": table.with_columns(mean=PER_TOKEN),
            "by reply": table.with_columns(mean=pl.col("logprob")),
            "by token, length regressed out": table.with_columns(mean=PER_TOKEN - slope(table) * pl.col("n_tokens")),
        }
        found[name] = {words: by_prompt(judged, values) for words, values in measures.items()}
        longer = pairs(judged, measures["by token"], "n_tokens")
        cells = [interval(values["outcome"], 0, 1, 2) for values in found[name].values()]
        rows.append((name, *cells, *longer, " ".join(f"{level:.2f}" for level in levels)))
    heads = ["", *measures, "better is longer", "better is shorter", "nats a token, best to worst"]
    show("The better of two replies is the likelier", heads, rows)
    changes = [
        (f"{name} less sft", *(change(found[name][words], found["sft"][words]) for words in measures))
        for name in names[2:]
    ]
    show("Changes", ["", *measures], changes)


def agreement(names: list[str], judged: pl.DataFrame) -> None:
    """Whether the judge gives the better of two replies more."""
    sized = judged.with_columns(n_chars=pl.col("response").str.len_chars().cast(pl.Int64))
    rows = []
    for name in names[1:]:
        judgments = pl.read_parquet(DATA / "evaluations" / name / "judgments.parquet")
        scores = sized.join(judgments.group_by("response_id").agg(mean=pl.col("expected").mean()), on="response_id")
        by_ranks = [
            pair_outcomes(judged, scores.filter(pl.col("rank").is_in(ranks)).select("response_id", "mean"))[
                "outcome"
            ].mean()
            for ranks in ((1, 2), (1, 3), (2, 3))
        ]
        rows.append((name, *pairs(judged, scores, "n_chars"), *map(number, by_ranks)))
    heads = ["", "better is longer", "better is shorter", "1 over 2", "1 over 3", "2 over 3"]
    show("The judge gives the better of two replies more", heads, rows)


def slope(table: pl.DataFrame) -> float:
    """Of log-probability a token on tokens, within prompts."""
    within = table.select(
        y=PER_TOKEN - PER_TOKEN.mean().over("prompt_id"),
        x=pl.col("n_tokens") - pl.col("n_tokens").mean().over("prompt_id"),
    )
    return float(within.select((pl.col("x") * pl.col("y")).sum() / (pl.col("x") ** 2).sum()).item())


def by_prompt(judged: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    pairs = pair_outcomes(judged, values.select("response_id", "mean"))
    return pairs.group_by("prompt_id").agg(pl.col("outcome").mean()).sort("prompt_id")


def pairs(judged: pl.DataFrame, values: pl.DataFrame, size: str) -> list[str]:
    """Share of pairs in order, of those whose better reply is the longer one, and of those where it is the shorter."""
    all_ = values.select("prompt_id", "rank", "mean", size)
    both = all_.join(all_, on="prompt_id", suffix="_worse").filter(pl.col("rank") < pl.col("rank_worse"))
    won = ((pl.col("mean") - pl.col("mean_worse")).sign() / 2 + 0.5).mean()
    found = []
    for kept in (pl.col(size) > pl.col(f"{size}_worse"), pl.col(size) < pl.col(f"{size}_worse")):
        part = both.filter(kept)
        found.append(f"{number(part.select(won).item())} of {part.height}")
    return found


def change(after: pl.DataFrame, before: pl.DataFrame) -> str:
    both = after.join(before, on="prompt_id", suffix="_before")
    return interval(both["outcome"] - both["outcome_before"], -1, 1, 3)


def interval(values: pl.Series, least: float, most: float, digits: int) -> str:
    if values.is_empty():
        return "-"
    low, high = bootstrap_mean(np.asarray(values), ROUNDS, SEED, least=least, most=most)
    ends = "" if low is None else f" [{low:.{digits}f} {high:.{digits}f}]"
    return f"{values.mean():.{digits}f}{ends}"


def number(value: object) -> str:
    return "-" if value is None else f"{value:.2f}"


def show(title: str, heads: list[str], rows: list[tuple[object, ...]]) -> None:
    print(f"\n**{title}**\n\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


if __name__ == "__main__":
    main()
