"""All tables of a run folded into metrics and plot data; the same tables, never side files, are what a report shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from metareward.schemas import SCORED

CATEGORY = "category_"  # the metrics of a win rate by category begin so
Metrics = dict[str, dict[str, Any]]
_RESULT = ["checkpoint", "metric", "value", "ci_low", "ci_high", "n", "referee"]
_STEP = ["checkpoint", "metric", "step", "value"]
_TIES = ["agreement_ties_half", "agreement_ties_left_out"]
_STRONG = [f"{pairs}_{ties}" for pairs in ("strong_pairs", "own_pairs") for ties in _TIES]
# of each plot: the rows of an entry from which it is drawn, which metrics (None: all), the columns
PLOTS: dict[str, tuple[str, list[str] | None, list[str]]] = {
    "win_rate": ("results", ["win_rate"], _RESULT),
    "judge_agreement": ("results", _TIES, _RESULT),
    "spearman": ("results", ["spearman"], _RESULT),
    "strong_judge": ("results", _STRONG, _RESULT),
    "differences": ("differences", ["win_rate", *_TIES, "spearman"], [*_RESULT, "other"]),
    "readable": ("results", ["readable_judgments", "readable_verdicts"], _RESULT),
    "response_chars": ("results", ["response_chars"], _RESULT),
    "scores": ("scores", None, ["checkpoint", "score", "share"]),
    "score_drift": ("results", ["score_mean", "score_variance"], _RESULT),
    "score_distribution": ("distribution", None, ["checkpoint", "kind", "score", "value"]),
    "judge_bias": (
        "bias",
        None,
        ["checkpoint", "battles", "meta_judge", "preference", "difference", "share", "ci_low", "ci_high", "n"],
    ),
    "alpaca_eval": ("benchmarks", ["win_rate", "length_controlled_win_rate"], _RESULT),
    "alpaca_eval_categories": ("categories", None, ["category", *_RESULT]),
    "arena_hard": ("benchmarks", ["score"], _RESULT),
    "mt_bench": ("benchmarks", ["turn_1", "turn_2", "mean"], _RESULT),
    "loss": ("curves", ["loss"], _STEP),
    "rewards": ("curves", ["reward_margin", "reward_accuracy"], _STEP),
}


def iteration_metrics(tables: Mapping[str, pl.DataFrame], bias: pl.DataFrame) -> dict[str, Any]:
    """The counts, shares and mean lengths of one iteration, by metric; reasons are nested one level deeper.

    tables: responses, judgments, actor_pairs, actor_no_pairs, battles, elo, judge_pairs, judge_no_pairs; no texts are
    needed, of thoughts only whether there is one. bias: the `judge_bias` of its battles.
    """
    shares = dict(bias.select(pl.concat_list("preference", "difference").list.join(" "), "share").iter_rows())
    responses, judgments, battles, elo = (tables[name] for name in ("responses", "judgments", "battles", "elo"))
    actor, judge = tables["actor_pairs"], tables["judge_pairs"]
    unique = responses.filter(pl.col("duplicate_of").is_null())
    scores = judgments["score"].drop_nulls()
    rewards = judgments.filter(finish_reason=SCORED).height
    metrics = {
        "data.responses": responses.height,
        "data.duplicates": responses.height - unique.height,
        "data.responses_cut": (~responses["finish_reason"].is_in(["stop", "too_long"])).sum(),
        "data.prompts_too_long": responses.filter(finish_reason="too_long")["prompt_id"].n_unique(),
        "data.responses_with_thought": responses["thought"].is_not_null().sum(),
        "data.responses_only_thought": responses.filter(_only_thought()).height,
        "data.response_chars": _mean_chars(responses),
        "judge.judgments": judgments.height,
        "judge.by_reward_model": rewards or None,
        "judge.readable": judgments["score"].is_not_null().mean(),
        "judge.invalid": _reasons(judgments["invalid_reason"]),
        "judge.score_mean": scores.mean(),
        "judge.score_variance": scores.var(ddof=0),
        "judge.score_at_maximum": None if rewards else (scores == 5).mean(),  # a reward model's have no maximum
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
        "meta_judge.first_position_wins": shares["first_position all"],
        "meta_judge.first_position_wins_equal_scores": shares["first_position 0"],
        "meta_judge.higher_score_wins": shares["higher_score all"],
        "meta_judge.responses_by_ridge": elo.filter(pl.col("ridge") > 0)["response_id"].n_unique(),
        "judge_pairs.pairs": judge.height,
        "judge_pairs.none": _reasons(tables["judge_no_pairs"]["reason"]),
        "judge_pairs.chosen_chars": judge["chosen_chars"].mean(),
        "judge_pairs.rejected_chars": judge["rejected_chars"].mean(),
    }
    return {name: value for name, value in metrics.items() if value not in (None, {})}


def length_control_metrics(control: pl.DataFrame) -> dict[str, Any]:
    """The rho of a `length_control` table, and a 1 where it should balance lengths but none does."""
    rho, set_by = control.row(0)
    return {"actor_pairs.rho": rho} | ({"actor_pairs.rho_not_balanced": 1} if set_by == "least_difference" else {})


def held_out_metrics(results: pl.DataFrame) -> dict[str, Any]:
    """The values of a `results` table by metric; one that a referee gave carries the referee's name."""
    return _values(results, "held_out")


def benchmark_metrics(results: pl.DataFrame) -> dict[str, Any]:
    """The same of the public benchmarks, in a group for each; the referee is the judge's model."""
    groups = results["benchmark"].unique().sort()
    return {name: value for group in groups for name, value in _values(results.filter(benchmark=group), group).items()}


def category_rows(results: pl.DataFrame) -> pl.DataFrame:
    """The rows of AlpacaEval's win rate by category, with the category."""
    rows = results.filter(pl.col("metric").str.starts_with(CATEGORY), benchmark="alpaca_eval")
    return rows.with_columns(category=pl.col("metric").str.strip_prefix(CATEGORY).str.replace_all("_", " "))


def difference_metrics(differences: pl.DataFrame, before: str) -> dict[str, Any]:
    """The values of a `differences` table by metric, those to the checkpoint before and those to sft apart."""
    to_sft, to_before = (differences.filter(other=name) for name in ("sft", before))
    return _values(to_before, "difference_to_before") | _values(to_sft, "difference_to_sft")


def _values(rows: pl.DataFrame, group: str) -> dict[str, Any]:
    found = rows.drop_nulls("value").select("metric", "value", "referee").iter_rows()
    return {f"{group}.{metric}" + (f"_by_{referee}" if referee else ""): value for metric, value, referee in found}


def by_metric(values: Mapping[str, Mapping[str, Any]]) -> Metrics:
    """{checkpoint: {"group.metric": value}} turned into {group: {metric: {checkpoint: value}}}, numbers rounded.

    Keyed this way `dvc metrics diff` puts the checkpoints of one metric below each other.
    """
    out: Metrics = {}
    for checkpoint, metrics in values.items():
        for name, value in metrics.items():
            group, metric = name.split(".", 1)
            for path, number in _leaves([metric], value):
                place: dict[str, Any] = out.setdefault(group, {})
                for part in path:
                    place = place.setdefault(part, {})
                place[checkpoint] = round(number, 4) if isinstance(number, float) else number
    return out


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

    entries: checkpoint, results and differences (rows of those tables), benchmarks (results on public ones) and
    categories (of these, AlpacaEval's by category), curves (of its training), scores (of its iteration's judge),
    distribution (of its held-out scores) and bias. A plot without a row gets one of nulls, because
    DVC cannot read an empty file. differences are drawn to the checkpoint before.
    """
    plots = {}
    for plot, (kind, metrics, columns) in PLOTS.items():
        rows = [
            {column: _rounded(named[column]) for column in columns}
            for before, entry in zip([None, *entries], entries, strict=False)
            for row in entry[kind]
            if (metrics is None or row["metric"] in metrics)
            and row.get("value", row.get("share")) is not None
            and (kind != "differences" or (before and row["other"] == before["checkpoint"]))
            for named in [{**row, "checkpoint": entry["checkpoint"]}]
        ]
        plots[plot] = rows or [dict.fromkeys(columns)]
    return plots


def interval_rows(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All results and differences of a run with their intervals.

    other: the checkpoint that a difference is to, null of a value; before: whether that is the checkpoint before.
    """
    columns = ["benchmark", "checkpoint", "other", "metric", "referee", "value", "ci_low", "ci_high", "n"]
    return [
        {column: _rounded(row.get(column)) for column in columns}
        | {"before": before is not None and row.get("other") == before["checkpoint"]}
        for before, entry in zip([None, *entries], entries, strict=False)
        for row in (*entry["results"], *entry["benchmarks"], *entry["differences"], *_bias_results(entry))
        if row["value"] is not None
    ]


def monitor_rows(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The `monitors` of all checkpoints of a run."""
    return [{"checkpoint": entry["checkpoint"], **row} for entry in entries for row in entry["monitors"]]


def _bias_results(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The bias of an iteration's meta-judge as rows like those of `results`, by the names of its metrics."""
    endings = {"all": "", "0": "_equal_scores"}
    return [
        {**row, "benchmark": "meta_judge", "checkpoint": entry["checkpoint"], "value": row["share"]}
        | {"metric": f"{row['preference']}_wins{endings[row['difference']]}"}
        for row in entry["bias"]
        if row["battles"] == entry["checkpoint"] and row["difference"] in endings
    ]


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _leaves(path: list[str], value: Any) -> list[tuple[list[str], Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, inner in value.items() for leaf in _leaves([*path, key], inner)]
    return [(path, value)]


def _mean_chars(completions: pl.DataFrame) -> Any:
    """Of those that were written, thoughts left out."""
    return completions.filter(~pl.col("finish_reason").is_in(["too_long", SCORED]) & ~_only_thought())["n_chars"].mean()


def _only_thought() -> pl.Expr:
    return pl.col("thought").is_not_null() & (pl.col("n_chars") == 0)


def _reasons(reasons: pl.Series) -> dict[str, int]:
    return dict(sorted(reasons.drop_nulls().value_counts().iter_rows()))
