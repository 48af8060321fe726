"""What the report shows of one iteration: counts, the Elo distribution, and a bounded, seeded sample to browse."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import polars as pl

from metareward.ids import content_id

MOST_CHARS = 20_000  # of a text in the report: a judge's prompt at the paper's scale is a fifth of that
ELO_BINS = 24
NO_VERDICT = "-"
Tables = Mapping[str, pl.LazyFrame]
Digest = dict[str, Any]


def digest_iteration(tables: Tables, most: int | None, seed: int) -> Digest:
    """The report's part of one iteration, ready for JSON. Texts are read of the sampled prompts alone.

    tables: prompts, responses (duplicates marked), judgments, actor_pairs, actor_no_pairs, battles, elo, judge_pairs,
    judge_no_pairs. most: actor pairs, judge pairs and prompts without a pair, of each at most so many
    (None: all), drawn by the seed. A text of more than MOST_CHARS characters is cut, and says how many there were.
    """
    drawn = {
        name: draw(tables[name].select("prompt_id").collect()["prompt_id"].to_list(), most, name, seed)
        for name in ("actor_pairs", "judge_pairs", "actor_no_pairs", "judge_no_pairs")
    }
    found = {name: _of(tables[name], ids) for name, ids in drawn.items()}
    asked = _of(tables["prompts"], list(chain.from_iterable(drawn.values())))
    prompts = dict(asked.select("prompt_id", "prompt").iter_rows())
    actor, judge = found["actor_pairs"], found["judge_pairs"]
    responses = [*actor["chosen_id"], *actor["rejected_id"], *judge["response_id"]]
    ids = drawn["actor_pairs"] + drawn["judge_pairs"]
    judged = _judgments(_of(tables["judgments"], ids, responses), _of(tables["elo"], drawn["judge_pairs"]))
    fought = _of(tables["responses"], drawn["judge_pairs"], responses)
    texts = dict(fought.select("response_id", "response").iter_rows())
    battles = _of(tables["battles"].drop("meta_judgment", "thought"), drawn["judge_pairs"])
    items = [
        *(_actor_item(row, prompts, judged) for row in actor.iter_rows(named=True)),
        *(_judge_item(row, prompts, texts, judged, battles) for row in judge.iter_rows(named=True)),
        *(
            {"id": row["prompt_id"], "role": role, "reason": row["reason"], "prompt": cut(prompts[row["prompt_id"]])}
            for role in ("actor", "judge")
            for row in found[f"{role}_no_pairs"].iter_rows(named=True)
        ),
    ]
    return {"n": _heights(tables), "tokens": _tokens(tables), **_elo(tables), "items": items}


def draw(ids: list[str], most: int | None, kind: str, seed: int) -> list[str]:
    """At most so many of the ids, in their order: those whose hash with the seed is lowest."""
    if most is None or len(ids) <= most:
        return ids
    chosen = set(sorted(ids, key=lambda one: content_id("report", kind, seed, one))[:most])
    return [one for one in ids if one in chosen]


def cut(text: str | None) -> Any:
    """The text, or of a longer one its first MOST_CHARS characters with the number of all; null stays null."""
    if text is None or len(text) <= MOST_CHARS:
        return text
    return {"text": text[:MOST_CHARS], "chars": len(text)}


def _of(table: pl.LazyFrame, prompts: list[str], responses: list[str] | None = None) -> pl.DataFrame:
    """The rows of some prompts, and of these of some responses, in the order of the table."""
    rows = table.filter(pl.col("prompt_id").is_in(prompts))
    if responses is not None:
        rows = rows.filter(pl.col("response_id").is_in(responses))
    return rows.collect(engine="streaming")


def _judgments(judgments: pl.DataFrame, elo: pl.DataFrame) -> dict[str, list[Digest]]:
    """The judgments of each response, in the order of their samples."""
    rows = judgments.join(elo.select("judgment_id", "elo"), on="judgment_id", how="left").sort("response_id", "sample")
    found: dict[str, list[Digest]] = {}
    columns = ["response_id", "judgment_id", "judgment", "score", "invalid_reason", "elo"]
    for response, judgment, text, score, reason, rating in rows.select(columns).iter_rows():
        one = {"id": judgment, "text": cut(text), "score": score, "reason": reason, "elo": _rounded(rating)}
        found.setdefault(response, []).append({key: value for key, value in one.items() if value is not None})
    return found


def _side(row: Mapping[str, Any], side: str, value: str) -> Digest:
    return {
        "id": row[f"{side}_id"],
        "chars": row[f"{side}_chars"],
        "cut": row[f"{side}_finish"] != "stop",
        value: _rounded(row[f"{side}_{value}"]),
    }


def _actor_item(row: Mapping[str, Any], prompts: Mapping[str, str], judged: Mapping[str, list[Digest]]) -> Digest:
    sides = {side: _side(row, side, "score") for side in ("chosen", "rejected")}
    for name, side in sides.items():
        side |= {"text": cut(row[name]), "judgments": judged.get(side["id"], [])}
    prompt = cut(prompts[row["prompt_id"]])
    return {"id": row["pair_id"], "role": "actor", "prompt": prompt, "margin": _rounded(row["margin"]), **sides}


def _judge_item(
    row: Mapping[str, Any],
    prompts: Mapping[str, str],
    texts: Mapping[str, str],
    judged: Mapping[str, list[Digest]],
    battles: pl.DataFrame,
) -> Digest:
    """battles: for each judgment as the first, a letter for each as the second: a, b, NO_VERDICT, or a space."""
    judgments = judged.get(row["response_id"], [])
    fought = battles.filter(response_id=row["response_id"]).select("judgment_a", "judgment_b", "winner")
    winners = {(a, b): winner or NO_VERDICT for a, b, winner in fought.iter_rows()}
    fighters = [one["id"] for one in judgments if "elo" in one]
    matrix = ["".join(winners.get((a, b), " ") for b in fighters) for a in fighters]
    return {
        "id": row["pair_id"],
        "role": "judge",
        "prompt": cut(prompts[row["prompt_id"]]),
        "response": cut(texts.get(row["response_id"])),
        "margin": _rounded(row["margin"]),
        **{side: _side(row, side, "elo") for side in ("chosen", "rejected")},  # the texts are among the judgments
        "judgments": judgments,
        "battles": matrix,
    }


def _heights(tables: Tables) -> dict[str, int]:
    names = ("prompts", "responses", "judgments", "battles", "actor_pairs", "actor_no_pairs", "judge_pairs")
    counts = pl.collect_all([tables[name].select(pl.len()) for name in (*names, "judge_no_pairs")])
    return {name: count.item() for name, count in zip((*names, "judge_no_pairs"), counts, strict=True)}


def _tokens(tables: Tables) -> dict[str, int]:
    """Tokens written by each role, thoughts included."""
    names = ("responses", "judgments", "battles")
    counts = pl.collect_all([tables[name].select(pl.col("n_tokens").sum()) for name in names])
    return {name: count.item() for name, count in zip(names, counts, strict=True)}


def _elo(tables: Tables) -> Digest:
    """elo: rows of rating (the middle of a bin) and judgments; verdicts: battles that the first or second won, or
    none."""
    ratings = tables["elo"].select("elo").collect()["elo"]
    winner = pl.col("winner")
    won = tables["battles"].select(
        first=(winner == "a").sum(), second=(winner == "b").sum(), unreadable=winner.is_null().sum()
    )
    bins: list[Digest] = []
    if len(ratings):
        reach = max(float(ratings.abs().max()), 0.5)  # type: ignore[arg-type]
        width = 2 * reach / ELO_BINS
        places = ((ratings + reach) / width).floor().clip(0, ELO_BINS - 1).cast(pl.Int64)
        found = dict(places.value_counts().iter_rows())
        bins = [{"rating": round((k + 0.5) * width - reach, 4), "judgments": found.get(k, 0)} for k in range(ELO_BINS)]
    return {"elo": bins, "verdicts": won.collect().row(0, named=True)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
