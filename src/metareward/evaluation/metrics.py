"""All tables of a run folded into metrics and plot data; the same tables, never side files, are what a report shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

Metrics = dict[str, dict[str, Any]]
_RESULT = ["checkpoint", "metric", "value", "ci_low", "ci_high", "n", "referee"]
_STEP = ["checkpoint", "metric", "step", "value"]
# the metrics and the columns of each plot but that of the scores
PLOTS = {
    "win_rate": (["win_rate"], _RESULT),
    "judge_agreement": (["agreement_ties_half", "agreement_ties_left_out"], _RESULT),
    "readable": (["readable_judgments", "readable_verdicts"], _RESULT),
    "response_chars": (["response_chars"], _RESULT),
    "loss": (["loss"], _STEP),
    "rewards": (["reward_margin", "reward_accuracy"], _STEP),
}


def iteration_metrics(tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The counts, shares and mean lengths of one iteration, by metric; reasons are nested one level deeper.

    tables: responses, judgments, actor_pairs, actor_no_pairs, battles, elo, judge_pairs, judge_no_pairs; no texts are
    needed, of thoughts only whether there is one.
    """
    responses, judgments, battles, elo = (tables[name] for name in ("responses", "judgments", "battles", "elo"))
    actor, judge = tables["actor_pairs"], tables["judge_pairs"]
    unique = responses.filter(pl.col("duplicate_of").is_null())
    scores = judgments["score"].drop_nulls()
    decided = battles["winner"].drop_nulls()
    metrics = {
        "data.responses": responses.height,
        "data.duplicates": responses.height - unique.height,
        "data.responses_cut": (~responses["finish_reason"].is_in(["stop", "too_long"])).sum(),
        "data.prompts_too_long": responses.filter(finish_reason="too_long")["prompt_id"].n_unique(),
        "data.responses_with_thought": responses["thought"].is_not_null().sum(),
        "data.responses_only_thought": responses.filter(_only_thought()).height,
        "data.response_chars": _mean_chars(responses),
        "judge.judgments": judgments.height,
        "judge.readable": judgments["score"].is_not_null().mean(),
        "judge.invalid": _reasons(judgments["invalid_reason"]),
        "judge.score_mean": scores.mean(),
        "judge.score_variance": scores.var(ddof=0),
        "judge.score_at_maximum": (scores == 5).mean(),
        "judge.judgment_chars": _mean_chars(judgments),
        "actor_pairs.pairs": actor.height,
        "actor_pairs.none": _reasons(tables["actor_no_pairs"]["reason"]),
        "actor_pairs.chosen_chars": actor["chosen_chars"].mean(),
        "actor_pairs.rejected_chars": actor["rejected_chars"].mean(),
        "actor_pairs.chosen_cut": (actor["chosen_finish"] != "stop").sum(),
        "actor_pairs.rejected_cut": (actor["rejected_finish"] != "stop").sum(),
        "meta_judge.battles": battles.height,
        "meta_judge.readable": battles["winner"].is_not_null().mean(),
        "meta_judge.invalid": _reasons(battles["invalid_reason"]),
        "meta_judge.first_position_wins": (decided == "a").mean(),
        "meta_judge.higher_score_wins": _higher_score_wins(battles, judgments),
        "meta_judge.responses_by_ridge": elo.filter(pl.col("ridge") > 0)["response_id"].n_unique(),
        "judge_pairs.pairs": judge.height,
        "judge_pairs.none": _reasons(tables["judge_no_pairs"]["reason"]),
        "judge_pairs.chosen_chars": judge["chosen_chars"].mean(),
        "judge_pairs.rejected_chars": judge["rejected_chars"].mean(),
    }
    return {name: value for name, value in metrics.items() if value not in (None, {})}


def held_out_metrics(results: pl.DataFrame) -> dict[str, Any]:
    """The values of a `results` table by metric; one that a referee gave carries the referee's name."""
    rows = results.drop_nulls("value").select("metric", "value", "referee").iter_rows()
    return {f"held_out.{metric}" + (f"_by_{referee}" if referee else ""): value for metric, value, referee in rows}


def by_metric(values: Mapping[str, Mapping[str, Any]]) -> Metrics:
    """{checkpoint: {"group.metric": value}} turned into {group: {metric: {checkpoint: value}}}, numbers rounded.

    Keyed this way `dvc metrics diff` puts the checkpoints of one metric below each other.
    """
    out: Metrics = {}
    for checkpoint, metrics in values.items():
        for name, value in metrics.items():
            group, metric = name.split(".", 1)
            for path, number in _leaves(metric, value):
                place: dict[str, Any] = out.setdefault(group, {})
                for part in path.split("."):
                    place = place.setdefault(part, {})
                place[checkpoint] = round(number, 4) if isinstance(number, float) else number
    return out


def score_histogram(judgments: pl.DataFrame) -> list[dict[str, Any]]:
    """The share of each score, in bins of one half: [{score, share}]."""
    scores = judgments["score"].drop_nulls()
    binned = (scores * 2).round() / 2
    found = dict(binned.value_counts().iter_rows())
    return [{"score": half / 2, "share": round(found.get(half / 2, 0) / max(1, scores.len()), 4)} for half in range(11)]


def training_curves(steps: pl.DataFrame, most: int = 200) -> list[dict[str, Any]]:
    """A `training_steps` table as rows of metric (loss, reward_margin, reward_accuracy), step and value.

    A training of more steps than `most` is drawn as that many stretches of equal length, each by its mean at its last
    step, so that the plot data stay small enough for git.
    """
    stretch = ((pl.int_range(pl.len()) * most) // pl.max_horizontal(pl.len(), most)).alias("stretch")
    names = ["loss", "reward_margin", "reward_accuracy"]
    means = steps.sort("step").group_by(stretch, maintain_order=True).agg(pl.col("step").max(), pl.col(names).mean())
    rows = means.unpivot(names, index="step", variable_name="metric").drop_nulls("value")
    return rows.with_columns(pl.col("value").round(6)).select("metric", "step", "value").to_dicts()


def plot_rows(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each plot, by its name, from the summaries of all checkpoints; missing values are left out.

    entries: checkpoint, results (rows of that table), curves (of its training) and scores (of its iteration's judge).
    A plot without a row gets one of nulls, because DVC cannot read an empty file.
    """
    named = [
        {**row, "checkpoint": entry["checkpoint"]}
        for entry in entries
        for row in (*entry["results"], *entry["curves"])
        if row["value"] is not None
    ]
    plots = {
        plot: [{column: row[column] for column in columns} for row in named if row["metric"] in metrics]
        for plot, (metrics, columns) in PLOTS.items()
    }
    plots["scores"] = [{"iteration": entry["checkpoint"], **row} for entry in entries for row in entry["scores"]]
    columns = {"scores": ["iteration", "score", "share"], **{plot: columns for plot, (_, columns) in PLOTS.items()}}
    return {plot: rows or [dict.fromkeys(columns[plot])] for plot, rows in plots.items()}


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, inner in value.items() for leaf in _leaves(f"{name}.{key}", inner)]
    return [(name, value)]


def _mean_chars(completions: pl.DataFrame) -> Any:
    """Of those that were written, thoughts left out."""
    return completions.filter((pl.col("finish_reason") != "too_long") & ~_only_thought())["n_chars"].mean()


def _only_thought() -> pl.Expr:
    return pl.col("thought").is_not_null() & (pl.col("n_chars") == 0)


def _reasons(reasons: pl.Series) -> dict[str, int]:
    return dict(sorted(reasons.drop_nulls().value_counts().iter_rows()))


def _higher_score_wins(battles: pl.DataFrame, judgments: pl.DataFrame) -> Any:
    """Of the decided battles between unequal scores, the share that the higher-scored judgment won."""
    score = judgments.select("judgment_id", "score")
    rows = battles.join(score, left_on="judgment_a", right_on="judgment_id").join(
        score, left_on="judgment_b", right_on="judgment_id", suffix="_b"
    )
    rows = rows.filter(pl.col("winner").is_not_null() & (pl.col("score") != pl.col("score_b")))
    return ((rows["score"] > rows["score_b"]) == (rows["winner"] == "a")).mean()
