"""The `results` rows of the public benchmarks: grades in the form that each benchmark's scorer takes, and counts."""

import polars as pl

from metareward.evaluation.alpaca_eval import alpaca_eval_scores
from metareward.evaluation.arena_hard import LABELS, arena_hard_scores
from metareward.evaluation.intervals import bootstrap_mean
from metareward.evaluation.mt_bench import mt_bench_scores
from metareward.evaluation.outcomes import outcomes_table
from metareward.evaluation.results import Score, mean, results_table
from metareward.templates.chats import category_slug

BY_NOBODY = ("mean_length", "mean_tokens", "answers_cut", "answers_empty")  # metrics that no judge gave


def benchmark_results(
    checkpoint: str,
    answered: pl.DataFrame,
    answers: pl.DataFrame,
    grades: pl.DataFrame,
    length_control: tuple[pl.DataFrame, pl.DataFrame] | None,
    categories: pl.DataFrame,
    rounds: int,
    seed: int,
) -> pl.DataFrame:
    """The `results` of one benchmark; all but a few were given by the judge, and carry its name.

    answered: its questions, with a list of the model's answers, one a turn; answers: of its questions; grades: of
    these. length_control: difficulties of instructions and judgments of gamed baselines, of AlpacaEval, if known;
    categories: of its instructions; rounds, seed: of bootstraps that are not upstream's.
    """
    benchmark, judge = grades.select("benchmark", "judge").row(0)
    if benchmark == "alpaca_eval":
        rows = alpaca_eval_rows(answered, grades)
        scores = alpaca_eval_scores(rows, *(length_control or ()))
        scores += category_scores(rows, categories, rounds, seed)
    elif benchmark == "arena_hard":
        scores = arena_hard_scores(arena_hard_games(answered, grades), tokens=answers["n_tokens"])
    else:
        scores = mt_bench_scores(mt_bench_ratings(answered, grades))
    scores += counted(answers, grades)
    named = [
        (one.metric, one.value, one.low, one.high, one.n, None if one.metric in BY_NOBODY else judge) for one in scores
    ]
    return results_table(checkpoint, named, benchmark)


def benchmark_outcomes(checkpoint: str, grades: pl.DataFrame) -> pl.DataFrame:
    """The `outcomes` of one benchmark's grades: what each question brings to the win rate, the score or the mean.

    Of Arena-Hard n counts battles, three for a label with >>.
    """
    benchmark, judge = grades.select("benchmark", "judge").row(0)
    value, weight = pl.col("value"), pl.lit(1)
    if benchmark == "alpaca_eval":
        value = 100 * (value - 1)
    elif benchmark == "arena_hard":
        first, weight = (pl.col("label").replace_strict({k: v[i] for k, v in LABELS.items()}) for i in (0, 1))
        value = 100 * pl.when(pl.col("model_first")).then(first).otherwise(1 - first)
    rows = grades.select(prompt_id="question_id", value=value, weight=weight).drop_nulls()
    sums = rows.group_by("prompt_id").agg(
        total=(pl.col("value") * pl.col("weight")).sum(), n=pl.col("weight").sum().cast(pl.Int64)
    )
    every = grades.select(prompt_id="question_id").unique().join(sums, on="prompt_id", how="left")
    metric = {"alpaca_eval": "win_rate", "arena_hard": "score", "mt_bench": "mean"}[benchmark]
    return outcomes_table(checkpoint, {f"{benchmark}_{metric}": every.fill_null(0)}, judge)


def alpaca_eval_rows(answered: pl.DataFrame, grades: pl.DataFrame) -> pl.DataFrame:
    """index, len_1, len_2 (characters of the baseline's and the model's output) and preference of each instruction.

    answered: question_id, baseline and answers, a list of one.
    """
    rows = answered.join(grades.select("question_id", "value"), on="question_id", how="left", maintain_order="left")
    return rows.select(
        index=pl.col("question_id").cast(pl.Int64),
        len_1=pl.col("baseline").str.len_chars().cast(pl.Int64),
        len_2=pl.col("answers").list.first().str.len_chars().cast(pl.Int64),
        preference=pl.col("value"),
    )


def arena_hard_games(answered: pl.DataFrame, grades: pl.DataFrame) -> pl.DataFrame:
    """question_id, game and label, in upstream's order of questions."""
    rows = answered.select("question_id").join(grades, on="question_id", maintain_order="left_right")
    return rows.select("question_id", "label", game=pl.col("part"))


def mt_bench_ratings(answered: pl.DataFrame, grades: pl.DataFrame) -> pl.DataFrame:
    """question_id, turn, category and rating."""
    rows = answered.select("question_id", "category").join(grades, on="question_id", maintain_order="left_right")
    return rows.select("question_id", "category", turn=pl.col("part"), rating=pl.col("value"))


def category_scores(rows: pl.DataFrame, categories: pl.DataFrame, rounds: int, seed: int) -> list[Score]:
    """AlpacaEval's win rate in per cent within each category that has an instruction; intervals by bootstrap.

    rows: as of `alpaca_eval_rows`; categories: the table; none without a row in it.
    """
    if categories.is_empty():
        return []
    sorted_in = categories.select("category", index=pl.col("question_id").cast(pl.Int64))
    known = rows.drop_nulls("preference").join(sorted_in, on="index", maintain_order="left")
    scores = [Score("categories_readable", mean(sorted_in["category"].is_not_null()), None, None, len(sorted_in))]
    for name in sorted_in["category"].drop_nulls().unique().sort():
        wins = known.filter(category=name)["preference"] - 1
        value, low, high = map(_per_cent, (mean(wins), *bootstrap_mean(wins, rounds, seed)))
        scores.append(Score(f"category_{category_slug(name)}", value, low, high, len(wins)))
    return scores


def counted(answers: pl.DataFrame, grades: pl.DataFrame) -> list[Score]:
    """Shares of a benchmark's answers that were cut and that are empty, and of grades that cannot be read, by reason.

    An empty answer was never written, since its prompt fills the context, is nothing but a thought, or is blank.
    """
    cut = ~answers["finish_reason"].is_in(["stop", "too_long"])
    empty = answers["answer"].fill_null("").str.strip_chars() == ""
    scores = [
        Score("answers_cut", mean(cut), None, None, answers.height),
        Score("answers_empty", mean(empty), None, None, answers.height),
        Score("ungraded", mean(grades["invalid_reason"].is_not_null()), None, None, grades.height),
    ]
    reasons = grades["invalid_reason"].drop_nulls().value_counts().sort("invalid_reason")
    shares = ((f"ungraded_{reason}", number / grades.height) for reason, number in reasons.iter_rows())
    return scores + [Score(metric, share, None, None, grades.height) for metric, share in shares]


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share
