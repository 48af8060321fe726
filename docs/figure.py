"""Draw docs/demo.svg from the plots of the run at hand: python docs/figure.py (after make run and make test)."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

plt.rcParams["svg.fonttype"] = "none"  # text stays text
plt.rcParams["svg.hashsalt"] = "metareward"  # the same run draws the same bytes

PANELS = {
    "win_rate": "win rate against the seed",
    "judge_agreement": "judge agrees with human order",
    "readable": "readable judgments, verdicts",
    "response_chars": "mean response, characters",
}


def draw(plots: Path, out: Path) -> None:
    figure, axes = plt.subplots(1, len(PANELS), figsize=(15, 3.2), constrained_layout=True)
    order = [row["checkpoint"] for row in json.loads((plots / "response_chars.json").read_text())]
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        rows = [row for row in json.loads((plots / f"{name}.json").read_text()) if row["value"] is not None]
        for metric in dict.fromkeys(row["metric"] for row in rows):
            points = [row for row in rows if row["metric"] == metric]
            places = [order.index(row["checkpoint"]) for row in points]
            values = [row["value"] for row in points]
            axis.plot(places, values, marker="o", label=metric.replace("_", " "))
            bounded = [(place, row) for place, row in zip(places, points, strict=True) if row["ci_low"] is not None]
            for place, row in bounded:
                axis.vlines(place, row["ci_low"], row["ci_high"], alpha=0.5)
        axis.set_xticks(range(len(order)), order)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        if len({row["metric"] for row in rows}) > 1:
            axis.legend(fontsize=7)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path("plots"), Path("docs/demo.svg"))
