"""Draw checkpoints with 95% intervals from the metrics of the run at hand, and of experiments beside it.

    python docs/figure.py docs/demo.svg
    python docs/figure.py docs/small.svg --beside shuffled --beside no-judge-pairs response_score win_rate

After make run and make test, which installs matplotlib.
"""

import json
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import typer

from metareward.query.revisions import file_at, find_revisions

plt.rcParams["svg.fonttype"] = "none"  # text stays text
plt.rcParams["svg.hashsalt"] = "metareward"  # the same run draws the same bytes

METRICS = ["win_rate", "agreement_ties_half", "readable_judgments", "readable_verdicts", "response_chars"]
TITLES = {
    "win_rate": "win rate against the seed",
    "response_score": "mean score by the frozen judge",
    "agreement_ties_half": "judge agrees with human order",
    "likelihood_agreement": "the better reply is the likelier",
    "response_chars": "mean response, characters",
    "response_repetition": "runs of four words that repeat",
}
CHANCE = ("win_rate", "agreement_ties_half", "likelihood_agreement")  # at one half


def draw(
    out: Path,
    metrics: Annotated[list[str] | None, typer.Argument(help="of metrics.json's group held_out")] = None,
    beside: Annotated[list[str] | None, typer.Option(help="an experiment, or another revision")] = None,
) -> None:
    """A panel for each metric, a line for the run and for each experiment."""
    names, root = metrics or METRICS, Path.cwd()
    texts: dict[str, str | bytes | None] = {"this run": Path("plots/intervals.json").read_text()}
    for revision in find_revisions(root, beside or []):
        texts[revision.name] = file_at(root, revision, "plots/intervals.json")
    figure, axes = plt.subplots(1, len(names), figsize=(3.4 * len(names), 3.2), constrained_layout=True, squeeze=False)
    for axis, metric in zip(axes[0], names, strict=True):
        order: list[str] = []
        for k, (run, text) in enumerate(texts.items()):
            rows = [row for row in json.loads(text or "[]") if row["benchmark"] == "held_out" and row["other"] is None]
            order = order or list(dict.fromkeys(row["checkpoint"] for row in rows))
            points = [row for row in rows if row["metric"] == metric and row["value"] is not None]
            places = [order.index(row["checkpoint"]) + 0.15 * k for row in points]
            axis.plot(places, [row["value"] for row in points], marker="o", label=run)
            for place, row in zip(places, points, strict=True):
                if row["ci_low"] is not None:
                    axis.vlines(place, row["ci_low"], row["ci_high"], color=f"C{k}", alpha=0.5)
        if metric in CHANCE:
            axis.axhline(0.5, color="gray", linestyle="--", linewidth=1)
        axis.set_xticks(range(len(order)), order)
        axis.set_title(TITLES.get(metric, metric.replace("_", " ")), fontsize=10)
        axis.grid(alpha=0.3)
        if len(texts) > 1 and axis is axes[0][0]:
            axis.legend(fontsize=7)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    typer.run(draw)
