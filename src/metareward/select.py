"""Selection: from scores and Elo to preference pairs (METHOD.md §3.2-3.4, §4.1-4.2, §4.6-4.7).

Every function takes tables (Polars frames, eager or lazy) and gives tables. All of them work prompt by prompt, so
tables larger than memory go through in parts (`in_parts`), and no result depends on the order of rows. A prompt
ends in exactly one of two places: with a pair, or in `no_pairs` with one of REASONS.
"""

from collections.abc import Iterator, Mapping

import polars as pl

from metareward.elo import TIE
from metareward.ids import content_id
from metareward.tables import TABLES, check_table

Frame = pl.DataFrame | pl.LazyFrame

# Why a prompt has no pair. The first that holds is recorded; the order below is the order of the tests.
REASONS = {
    # actor pairs
    "too_few_responses": "fewer than two different responses were written",
    "too_few_scored": "fewer than two responses have a valid judgment",
    "equal_scores": "all scored responses have the same mean score",
    "chosen_not_better": "length control picked a chosen response that scores no higher than the rejected one",
    "chosen_too_long": "the chosen response is longer than max_chosen_chars",
    # judge pairs
    "judge_not_trained": "the iteration trains no judge, so no response was chosen for battle",
    "no_eligible_response": "no response has two valid, textually different judgments",
    "no_decided_battle": "the meta-judge gave no readable verdict that names a winner",
    "equal_elo": "all judgments have the same Elo",
    "identical_judgments": "the judgments of highest and of lowest Elo are the same text",
    "chosen_judgment_too_long": "the chosen judgment is longer than max_judgment_chars",
}

# Scores are averaged as whole millionths of a point: integer sums are exact, whatever the order of rows.
_MILLIONTHS = 1_000_000
# Means, variances and the bounds of length control count as equal within this: far below the smallest difference
# that 11 scores of two decimals can make (7e-9, of variances), far above rounding.
_EQUAL = 1e-9


def mark_duplicates(responses: Frame) -> pl.DataFrame:
    """The `responses` table with `duplicate_of`: the id of the lowest-sample identical response of the prompt.

    Null for that first response itself, and for responses that were never written (null text). METHOD §3.2.
    """
    first = pl.col("response_id").sort_by("sample").first().over("prompt_id", "response")
    is_duplicate = pl.col("response").is_not_null() & (first != pl.col("response_id"))
    return _table(responses.lazy().with_columns(duplicate_of=pl.when(is_duplicate).then(first)), "responses")


def score_statistics(responses: Frame, judgments: Frame) -> pl.DataFrame:
    """The `scores` table: one row per written response that is no duplicate, judged or not.

    mean and (population) variance are those of the valid scores, in points and points squared, null where there
    is none. METHOD §3.3, §4.1.
    """
    score = (pl.col("score") * _MILLIONTHS).round().cast(pl.Int64)
    statistics = (
        judgments.lazy()
        .filter(pl.col("score").is_not_null())
        .group_by("response_id")
        .agg(
            n_valid=pl.len().cast(pl.Int64),
            n_distinct=pl.col("judgment").n_unique().cast(pl.Int64),
            total=score.sum(),
            squares=(score * score).sum(),
        )
    )
    n, total, squares = (pl.col(name).cast(pl.Float64) for name in ("n_valid", "total", "squares"))
    scores = (
        # a response that was never written is known by its finish reason: the text need not be read
        responses.lazy()
        .filter(pl.col("duplicate_of").is_null() & (pl.col("finish_reason") != "too_long"))
        .join(statistics, on="response_id", how="left")
        .with_columns(
            mean=total / (n * _MILLIONTHS),
            variance=(n * squares - total * total) / (n * _MILLIONTHS) ** 2,
            n_valid=pl.col("n_valid").fill_null(0),
            n_distinct=pl.col("n_distinct").fill_null(0),
        )
    )
    return _table(scores, "scores")


def select_actor_pairs(
    prompts: Frame, responses: Frame, scores: Frame, rho: float, max_chosen_chars: int | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The `actor_pairs` and `no_pairs` tables: length-controlled pairs of responses, at most one per prompt.

    With S the mean score of a response, Smax and Smin the extremes of its prompt and rho in [0, 1]:
    chosen is the shortest response with Smax - S <= rho (Smax - Smin), rejected the longest with
    S - Smin <= rho (Smax - Smin); rho = 0 is selection by score alone. Equal lengths: the better score for
    chosen, the worse for rejected, then the lower sample. A chosen response of more than max_chosen_chars
    characters makes no pair (null: no cap). METHOD §3.4; Wu et al. 2024, section 2.1.
    """
    score, best, worst = pl.col("mean"), pl.col("mean").max(), pl.col("mean").min()
    reach = rho * (best - worst).over("prompt_id") + _EQUAL
    rows = scores.lazy()
    chosen = _first(
        rows.filter(best.over("prompt_id") - score <= reach),
        {"n_chars": False, "mean": True, "sample": False},
        {"response_id": "chosen_id", "n_chars": "chosen_chars", "mean": "chosen_score"},
    )
    rejected = _first(
        rows.filter(score - worst.over("prompt_id") <= reach),
        {"n_chars": True, "mean": False, "sample": False},
        {"response_id": "rejected_id", "n_chars": "rejected_chars", "mean": "rejected_score"},
    )
    margin = pl.col("chosen_score") - pl.col("rejected_score")
    reason = (
        pl.when(pl.col("n_responses").fill_null(0) < 2)
        .then(pl.lit("too_few_responses"))
        .when(pl.col("n_scored") < 2)
        .then(pl.lit("too_few_scored"))
        .when(pl.col("range") <= _EQUAL)
        .then(pl.lit("equal_scores"))
        .when(margin <= _EQUAL)
        .then(pl.lit("chosen_not_better"))
        .when(_longer_than(pl.col("chosen_chars"), max_chosen_chars))
        .then(pl.lit("chosen_too_long"))
    )
    summary = rows.group_by("prompt_id").agg(n_responses=pl.len(), n_scored=score.count(), range=best - worst)
    outcome = (
        prompts.lazy()
        .join(summary, on="prompt_id", how="left")
        .join(chosen, on="prompt_id", how="left")
        .join(rejected, on="prompt_id", how="left")
        .with_columns(reason=reason, margin=margin)
        .collect()
    )
    message = pl.struct(role=pl.lit("user"), content=pl.col("prompt"))
    pairs = (
        outcome.lazy()
        .filter(pl.col("reason").is_null())
        .join(_texts(responses, "chosen"), on="chosen_id", how="left")
        .join(_texts(responses, "rejected"), on="rejected_id", how="left")
        .with_columns(messages=pl.concat_list(message), pair_id=_content_ids("pair", "chosen_id", "rejected_id"))
    )
    return _table(pairs, "actor_pairs"), _no_pairs(outcome, "actor")


def choose_responses(prompts: Frame, scores: Frame, seed: int) -> pl.DataFrame:
    """The `choices` table: per prompt the response whose judgments go into battle, or the reason why there is none.

    It is the response whose valid scores have the highest variance, among those with two valid, textually
    different judgments; of n_tied with equal variances the seed draws one. METHOD §4.1.
    """
    highest = pl.col("variance").max().over("prompt_id")
    tied = (
        scores.lazy()
        .filter(pl.col("n_distinct") >= 2)
        .filter(highest - pl.col("variance") <= _EQUAL)
        .with_columns(
            n_tied=pl.len().over("prompt_id").cast(pl.Int64),
            # a hash of seed and id orders the tied at random, yet the same in every run and row order
            draw=_content_ids(f"choice {seed}", "response_id"),
        )
    )
    drawn = _first(tied, {"draw": False}, {"response_id": "response_id", "variance": "variance", "n_tied": "n_tied"})
    choices = (
        prompts.lazy()
        .join(drawn, on="prompt_id", how="left")
        .with_columns(
            n_tied=pl.col("n_tied").fill_null(0),
            reason=pl.when(pl.col("response_id").is_null()).then(pl.lit("no_eligible_response")),
        )
    )
    return _table(choices, "choices")


def list_battles(choices: Frame, judgments: Frame) -> pl.DataFrame:
    """All ordered pairs of different valid judgments of the chosen responses: N (N - 1) rows for N of them.

    Columns prompt_id, response_id, judgment_a (shown first), judgment_b; sorted by all four. METHOD §4.2.
    """
    response = ["prompt_id", "response_id"]
    valid = judgments.lazy().filter(pl.col("score").is_not_null()).join(choices.lazy(), on=response, how="semi")
    first = valid.select(*response, judgment_a="judgment_id")
    second = valid.select(*response, judgment_b="judgment_id")
    battles = first.join(second, on=response).filter(pl.col("judgment_a") != pl.col("judgment_b"))
    return battles.collect().sort(*response, "judgment_a", "judgment_b")


def select_judge_pairs(
    prompts: Frame,
    choices: Frame,
    judgments: Frame,
    elo: Frame,
    judge_prompts: Frame,
    max_judgment_chars: int | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The `judge_pairs` and `no_pairs` tables: the judgments of highest and lowest Elo of each chosen response.

    choices: an iteration that trains no judge has none, and every prompt ends in `no_pairs`.
    judge_prompts: prompt_id and messages, the full judge prompt of the chosen response.
    max_judgment_chars: a longer chosen judgment makes no pair (null: no limit).
    Elos within TIE of the extreme are tied with it: the shorter judgment is chosen, the longer rejected, then the
    lower sample. METHOD §4.6-4.7; Wu et al. 2024, section 2.2.
    """
    rating, highest, lowest = pl.col("elo"), pl.col("elo").max(), pl.col("elo").min()
    judged = judgments.lazy().select("judgment_id", "sample", "n_chars", "judgment")
    rows = elo.lazy().join(judged, on="judgment_id", how="left").collect().lazy()  # one pass over the judgments
    chosen = _first(
        rows.filter(highest.over("prompt_id") - rating <= TIE),
        {"n_chars": False, "sample": False},
        {"judgment_id": "chosen_id", "judgment": "chosen", "n_chars": "chosen_chars", "elo": "chosen_elo"},
    )
    rejected = _first(
        rows.filter(rating - lowest.over("prompt_id") <= TIE),
        {"n_chars": True, "sample": False},
        {"judgment_id": "rejected_id", "judgment": "rejected", "n_chars": "rejected_chars", "elo": "rejected_elo"},
    )
    wins = (pl.col("wins_first") + pl.col("wins_second")).sum()
    summary = rows.group_by("prompt_id").agg(n_decided=wins, range=highest - lowest)
    chosen_response = choices.lazy().select("prompt_id", "response_id", no_choice="reason", listed=pl.lit(True))
    reason = (
        pl.when(pl.col("listed").is_null())
        .then(pl.lit("judge_not_trained"))
        .when(pl.col("no_choice").is_not_null())
        .then(pl.col("no_choice"))
        .when(pl.col("n_decided").fill_null(0) == 0)
        .then(pl.lit("no_decided_battle"))
        .when(pl.col("range") <= TIE)
        .then(pl.lit("equal_elo"))
        .when(pl.col("chosen") == pl.col("rejected"))
        .then(pl.lit("identical_judgments"))
        .when(_longer_than(pl.col("chosen_chars"), max_judgment_chars))
        .then(pl.lit("chosen_judgment_too_long"))
    )
    outcome = (
        prompts.lazy()
        .join(chosen_response, on="prompt_id", how="left")
        .join(summary, on="prompt_id", how="left")
        .join(chosen, on="prompt_id", how="left")
        .join(rejected, on="prompt_id", how="left")
        .with_columns(reason=reason, margin=pl.col("chosen_elo") - pl.col("rejected_elo"))
        .collect()
    )
    pairs = (
        outcome.lazy()
        .filter(pl.col("reason").is_null())
        .join(judge_prompts.lazy(), on="prompt_id", how="left")
        .with_columns(pair_id=_content_ids("pair", "chosen_id", "rejected_id"))
    )
    return _table(pairs, "judge_pairs"), _no_pairs(outcome, "judge")


def in_parts(tables: Mapping[str, pl.LazyFrame], n_prompts: int = 5000) -> Iterator[dict[str, pl.LazyFrame]]:
    """The tables cut into the same ranges of n_prompts prompts, for tables larger than memory.

    tables: by name, `prompts` among them; each as read by `pl.scan_parquet`. Tables are written sorted by
    prompt_id, so a part reads its own row groups alone. Every function of this module gives, part by part, the
    rows that it gives for the whole.
    """
    ids = tables["prompts"].select("prompt_id").collect()["prompt_id"].sort()
    for start in range(0, len(ids), n_prompts):
        part = ids[start : start + n_prompts]
        within = pl.col("prompt_id").is_between(pl.lit(part[0]), pl.lit(part[-1]))
        yield {name: table.filter(within) for name, table in tables.items()}


def _first(rows: pl.LazyFrame, order: Mapping[str, bool], names: Mapping[str, str]) -> pl.LazyFrame:
    """Of each prompt the first row in an order (column -> descending), its columns renamed."""
    return (
        rows.sort(list(order), descending=list(order.values()))
        .unique("prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", *(pl.col(old).alias(new) for old, new in names.items()))
    )


def _texts(responses: Frame, role: str) -> pl.LazyFrame:
    """The texts of responses, to join to the id of the chosen or rejected one."""
    return responses.lazy().select(pl.col("response_id").alias(f"{role}_id"), pl.col("response").alias(role))


def _longer_than(n_chars: pl.Expr, limit: int | None) -> pl.Expr:
    return pl.lit(False) if limit is None else n_chars > limit


def _content_ids(kind: str, *columns: str) -> pl.Expr:
    """Content ids of a few rows (Python calls: fine for one row per prompt)."""
    return pl.struct(columns).map_elements(
        lambda row: content_id(kind, *(row[column] for column in columns)), return_dtype=pl.String
    )


def _table(rows: pl.LazyFrame, name: str) -> pl.DataFrame:
    return check_table(rows.select(TABLES[name].columns.keys()).collect(), name)


def _no_pairs(outcome: pl.DataFrame, role: str) -> pl.DataFrame:
    rows = outcome.lazy().filter(pl.col("reason").is_not_null()).with_columns(role=pl.lit(role))
    return _table(rows, "no_pairs")
