"""Selection asked again with other settings, from the judgments and battles that are there: nothing is generated.

The rules are those of the stages (`selection/`); no texts are needed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from metareward.errors import UserError
from metareward.params import MIN_RIDGE
from metareward.selection.actor_pairs import Candidates, actor_candidates, pick_responses
from metareward.selection.elo import fit_elo, position_weights
from metareward.selection.judge_pairs import pick_judgments
from metareward.selection.scores import score_statistics
from metareward.tables import scan_table

ACTOR, JUDGE = ("actor",), ("judge",)
# which pairs a key touches, and what it says
KEYS = {
    "rho": (ACTOR, "how far length control reaches"),
    "max_chosen_chars": (ACTOR, "longer chosen responses make no pair"),
    "responses": (ACTOR, "the first k of each prompt; judge pairs stay, since other responses never fought"),
    "judgments": (ACTOR + JUDGE, "the first k of each response; judge pairs are of the response that the run chose"),
    "position_weights": (JUDGE, "whether the meta-judge's position bias is taken out"),
    "max_judgment_chars": (JUDGE, "longer chosen judgments make no pair"),
    "ridge": (JUDGE, "the penalty where the likelihood has no finite maximiser"),
}
MOST_VALUES = 1001
Value = float | int | bool | None


class Settings(NamedTuple):
    """What selection is asked with. judgments, responses: null: all that are there."""

    rho: float
    max_chosen_chars: int | None
    max_judgment_chars: int | None
    ridge: float
    judgments: int | None = None
    responses: int | None = None
    position_weights: bool = True


def parse_question(text: str) -> tuple[str, list[Value]]:
    """The key and the values of KEY=VALUES: a list (0,0.3), a range (0:0.6:0.05) or whole numbers (1..11).

    Raises UserError with what is wrong.
    """
    key, equals, values = text.partition("=")
    if key not in KEYS or not equals:
        raise UserError(f"{text!r} is no question. Hint: KEY=VALUES with one of {', '.join(KEYS)}; rho=0:0.6:0.05")
    found = [_value(key, word, text) for part in values.split(",") for word in _words(part.strip(), text)]
    return key, list(dict.fromkeys(found))


def _words(part: str, text: str) -> Iterator[str]:
    try:
        if match := re.fullmatch(r"(\d+)\.\.(\d+)", part):
            start, stop, step = Decimal(match[1]), Decimal(match[2]), Decimal(1)
        elif part.count(":") == 2:
            start, stop, step = (Decimal(word) for word in part.split(":"))
        else:
            yield part
            return
    except InvalidOperation:
        raise UserError(f"{part!r} in {text} is no range. Hint: start:stop:step, as in rho=0:0.6:0.05") from None
    if not (all(number.is_finite() for number in (start, stop, step)) and step > 0 and start <= stop):
        raise UserError(f"{part!r} in {text} is an empty range. Hint: start:stop:step with start <= stop and step > 0")
    count = (stop - start) // step + 1
    if count > MOST_VALUES:
        raise UserError(f"{part!r} in {text} has {count} values; at most {MOST_VALUES} are asked.")
    for k in range(int(count)):
        yield str(start + k * step)


def _value(key: str, word: str, text: str) -> Value:
    allowed = {
        "rho": "a number in [0, 1]",
        "ridge": f"a number of at least {MIN_RIDGE}",
        "position_weights": "on or off",
        "max_chosen_chars": "a whole number of at least 1, or null",
        "max_judgment_chars": "a whole number of at least 1, or null",
        "judgments": "a whole number of at least 1",
        "responses": "a whole number of at least 2",
    }[key]
    lowered = word.lower()
    if key == "position_weights" and lowered in ("on", "off"):
        return lowered == "on"
    if key.startswith("max_") and lowered in ("null", "none"):
        return None
    if key in ("rho", "ridge") and re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e-?[0-9]+)?", lowered):
        number = float(lowered)
        if (key == "rho" and 0 <= number <= 1) or (key == "ridge" and MIN_RIDGE <= number < float("inf")):
            return number
    is_whole = key not in ("rho", "ridge", "position_weights") and re.fullmatch(r"[0-9]{1,9}", word)
    if is_whole and int(word) >= (2 if key == "responses" else 1):
        return int(word)
    raise UserError(f"{key} is {word!r}; it must be {allowed}. ({text})")


def settings_of(own: Settings, questions: Mapping[str, Sequence[Value]]) -> list[Settings]:
    """All combinations of the values; the run's own first, if it is not among them."""
    combinations: list[dict[str, Any]] = [
        dict(zip(questions, values, strict=True)) for values in product(*questions.values())
    ]
    grid = [own._replace(**values) for values in combinations]
    return grid if own in grid else [own, *grid]


_OUTCOME = ["prompt_id", "chosen_id", "rejected_id", "chosen_chars", "rejected_chars", "margin", "reason"]


def actor_outcomes(part: Mapping[str, pl.LazyFrame], asked: Sequence[Settings]) -> dict[Settings, pl.DataFrame]:
    """A row per prompt for each of the settings: chosen_id, rejected_id, chars, margin, reason (null: a pair).

    part: prompts and scores; where judgments or responses are asked, too, responses and judgments of these prompts.
    """
    if any(one.judgments or one.responses for one in asked):  # read once, not for each value
        part = {table: rows.collect().lazy() for table, rows in part.items()}
    known: dict[tuple[int | None, int | None], Candidates] = {}
    found = {}
    for one in asked:
        of = (one.judgments, one.responses)
        if of not in known:
            known[of] = actor_candidates(part["prompts"], _scores(part, *of))
        found[one] = pick_responses(known[of], one.rho, one.max_chosen_chars).select(_OUTCOME)
    return found


def scan_actor_tables(folder: Path, again: bool) -> dict[str, pl.LazyFrame]:
    """What `actor_outcomes` reads of an iteration's folder; again: judgments or responses are asked, too."""
    files = {"prompts": "prompts", "scores": "scores"}
    return _scan(folder, files | ({"responses": "unique_responses", "judgments": "judgments"} if again else {}))


def scan_judge_tables(folder: Path) -> dict[str, pl.LazyFrame]:
    """What `judge_outcomes` reads of an iteration's folder."""
    return _scan(folder, {name: name for name in ("prompts", "choices", "judgments", "battles")})


def _scan(folder: Path, files: Mapping[str, str]) -> dict[str, pl.LazyFrame]:
    tables = {table: scan_table(folder / f"{file}.parquet", table) for table, file in files.items()}
    tables["prompts"] = tables["prompts"].select("prompt_id")
    if "judgments" in tables:  # of the texts it matters only which are the same
        kept = ["prompt_id", "response_id", "judgment_id", "sample", "score", "expected", "n_chars", "finish_reason"]
        tables["judgments"] = tables["judgments"].select(*kept, judgment=pl.col("judgment").hash().cast(pl.String))
    if "responses" in tables:
        tables["responses"] = tables["responses"].drop("response", "thought")
    if "battles" in tables:
        tables["battles"] = tables["battles"].select("prompt_id", "response_id", "judgment_a", "judgment_b", "winner")
    return tables


def _scores(part: Mapping[str, pl.LazyFrame], judgments: int | None, responses: int | None) -> pl.LazyFrame:
    """The `scores` table of the first judgments of the first responses."""
    if judgments is None and responses is None:
        return part["scores"]
    written, judged = part["responses"], part["judgments"]
    if responses is not None:
        # of identical responses the one of the lowest sample is judged, so what duplicates what stays as it is
        written = written.filter(pl.col("sample") < responses)
    if judgments is not None:
        judged = judged.filter(pl.col("sample") < judgments)
    return score_statistics(written, judged).lazy()


def judge_outcomes(
    part: Mapping[str, pl.LazyFrame], asked: Sequence[Settings], weights: Mapping[Settings, tuple[float, float]]
) -> dict[Settings, pl.DataFrame]:
    """The same of judge pairs. part: prompts, choices, judgments, battles; weights: of each setting (`weights_of`)."""
    prompts, choices = part["prompts"], part["choices"]
    judgments = part["judgments"].join(choices.drop_nulls("response_id"), on="response_id", how="semi").collect().lazy()
    battles = part["battles"].collect().lazy()
    known: dict[tuple[Any, ...], pl.DataFrame] = {}
    found = {}
    for one in asked:
        of = (one.judgments, one.ridge, weights[one])
        if of not in known:
            known[of] = fit_elo(fought(battles, judgments, one.judgments), one.ridge, weights[one])
        picked = pick_judgments(prompts, choices, judgments, known[of], one.max_judgment_chars)
        found[one] = picked.select(_OUTCOME)
    return found


def fought(battles: pl.LazyFrame, judgments: pl.LazyFrame, first: int | None) -> pl.LazyFrame:
    """The battles between the first so many judgments of each response."""
    if first is None:
        return battles
    kept = judgments.filter(pl.col("sample") < first).select("judgment_id")
    for side in ("judgment_a", "judgment_b"):
        battles = battles.join(kept, left_on=side, right_on="judgment_id", how="semi")
    return battles


def weights_of(
    battles: pl.LazyFrame, judgments: pl.LazyFrame, asked: Sequence[Settings]
) -> dict[Settings, tuple[float, float]]:
    """The position weights of each setting, over all battles of the iteration."""
    known: dict[int | None, tuple[float, float]] = {}
    for one in asked:
        if one.position_weights and one.judgments not in known:
            winners = fought(battles, judgments, one.judgments).select("winner").collect()["winner"]
            known[one.judgments] = position_weights(winners)
    return {one: known[one.judgments] if one.position_weights else (0.5, 0.5) for one in asked}


def summarise(outcomes: pl.DataFrame, now: pl.DataFrame) -> dict[str, Any]:
    """pairs, none (by reason), margin, chosen_chars, rejected_chars, difference (means over the pairs), same.

    now: prompt_id, chosen_id, rejected_id of the pairs that the run has; same: the share of them that is still a pair.
    """
    pairs = outcomes.filter(pl.col("reason").is_null())
    reasons = outcomes["reason"].drop_nulls().value_counts().sort("reason")
    stays = now.join(pairs, on=["prompt_id", "chosen_id", "rejected_id"], how="semi").height
    return {
        "pairs": pairs.height,
        "none": dict(reasons.iter_rows()),
        "margin": pairs["margin"].mean(),
        "chosen_chars": pairs["chosen_chars"].mean(),
        "rejected_chars": pairs["rejected_chars"].mean(),
        "difference": (pairs["chosen_chars"] - pairs["rejected_chars"]).mean(),
        "same": stays / now.height if now.height else None,
    }
