"""The report's charts: of each its rows, which also stand in a table below it, and its Vega-Lite specification."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

Row = dict[str, Any]
Spec = dict[str, Any]
Entries = Sequence[Mapping[str, Any]]
INTERVAL = {"value": "value", "ci_low": "from", "ci_high": "to", "n": "n"}
SHARE = ".0%"
AGREEMENT = "share of pairs of held-out replies in people's order; ties count half"


@dataclass(frozen=True)
class Chart:
    """title, note: what it shows, and how to read it; columns: of the rows those in the table, by their heads;
    spec: Vega-Lite without its data. A chart without rows shows its note on why there are none, `empty`."""

    name: str
    title: str
    note: str
    rows: list[Row]
    columns: Mapping[str, str]
    spec: Spec
    empty: str = "There is nothing to draw yet."


def all_charts(entries: Entries, digests: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Chart]]:
    """The charts of a run in their sections.

    entries: the last summary, an entry for each checkpoint in training order; digests: by iteration.
    """
    order = [entry["checkpoint"] for entry in entries]
    made = list(digests)
    return {
        "Checkpoints": [
            _values(entries, order, "win_rate", "Win rate against the seed", SHARE, "by the referee; ties count half"),
            _values(entries, order, "response_chars", "Length of responses", ",.0f", "mean characters"),
            _values(entries, order, "agreement_ties_half", "Judge agrees with people", SHARE, AGREEMENT),
            _values(entries, order, "spearman", "Judge's scores and human ranks", ".2f", "Spearman, mean over prompts"),
        ],
        "Judge": [_distribution(entries, order), _iteration_scores(entries, made)],
        "Pairs": [_lengths(entries, "actor", made), _lengths(entries, "judge", made), _reasons(entries)],
        "Meta-judge": [_elo(digests), _positions(digests), _higher_score(entries, made)],
        "Training": [
            _curve(entries, "loss", "Training loss", ".3~f", order),
            _curve(entries, "reward_accuracy", "DPO reward accuracy", SHARE, order),
            _curve(entries, "reward_margin", "DPO reward margin", ".3~f", order),
        ],
    }


def _x(field: str, order: Sequence[str], **more: Any) -> Spec:
    return {"field": field, "type": "nominal", "sort": list(order), "title": None, "axis": {"labelAngle": 0}, **more}


def _y(field: str, form: str, zero: bool = True, **scale: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": None, "axis": {"format": form, "tickCount": 5},
            "scale": {"zero": zero, "nice": 5, **scale}}  # fmt: skip


def _counts(field: str, title: str, most: int) -> Spec:
    """An axis of whole numbers from zero, with at most seven of them written."""
    step = next(n * 10**power for power in count() for n in (1, 2, 5) if most <= 6 * n * 10**power)
    axis = {"values": list(range(0, most + 1, step)), "format": ",d"}
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": {"domain": [0, most]}}


def _color(field: str, drawn: Sequence[str], order: Sequence[str] = (), **more: Any) -> Spec:
    """Colours are names of variables in style.css, so that a theme changes them without drawing anew.

    With an order, of which some are drawn, they are steps of a ramp: one of the order has one colour in all charts.
    """
    if order:
        steps = [round(5 * order.index(name) / max(len(order) - 1, 1)) for name in drawn]
        colors = [f"var(--ramp-{step + 1})" for step in steps]
    else:
        colors = [f"var(--hue-{k % 7 + 1})" for k in range(len(drawn))]
    return {"field": field, "type": "nominal", "sort": list(drawn), "title": None,
            "scale": {"domain": list(drawn), "range": colors}, **more}  # fmt: skip


def _tip(columns: Mapping[str, str], forms: Mapping[str, str] | None = None) -> list[Spec]:
    forms = forms or {}
    return [
        {"field": field, "title": head, **({"type": "quantitative", "format": forms[field]} if field in forms else {})}
        for field, head in columns.items()
    ]


def _values(entries: Entries, order: Sequence[str], metric: str, title: str, form: str, unit: str) -> Chart:
    rows = [
        {"checkpoint": entry["checkpoint"], **{key: row[key] for key in INTERVAL}}
        for entry in entries
        for row in entry["results"]
        if row["metric"] == metric and row["value"] is not None
    ]
    columns = {"checkpoint": "checkpoint", **INTERVAL}
    base = _y("value", form, zero=metric == "response_chars")
    tip = _tip(columns, dict.fromkeys(("value", "ci_low", "ci_high"), form))
    spec: Spec = {
        "encoding": {"x": _x("checkpoint", order)},
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.45, "color": "var(--hue-1)"},
                "encoding": {"y": base},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": "var(--hue-1)"},
                "transform": [{"filter": "isValid(datum.ci_low)"}],
                "encoding": {"y": {**base, "field": "ci_low"}, "y2": {"field": "ci_high"}, "tooltip": tip},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1, "color": "var(--hue-1)"},
                "encoding": {"y": base, "tooltip": tip},
            },
        ],
    }
    if metric in ("win_rate", "agreement_ties_half"):
        dashes = {"type": "rule", "strokeDash": [4, 4], "color": "var(--muted)"}
        spec["layer"].insert(0, {"mark": dashes, "encoding": {"x": None, "y": {"datum": 0.5}}})
        unit += "; dashed: one half"
    return Chart(metric, title, f"{unit}; bars: 95% intervals", rows, columns, spec, "No checkpoint has such a value.")


def _distribution(entries: Entries, order: Sequence[str]) -> Chart:
    rows = [
        {"checkpoint": entry["checkpoint"], "score": row["score"], "value": row["value"]}
        for entry in entries
        for row in entry["distribution"]
        if row["kind"] == "density" and row["value"] is not None
    ]
    drawn = [name for name in order if any(row["checkpoint"] == name for row in rows)]
    without = [name for name in order if name not in drawn]
    note = "Gaussian kernel density of the scores that each checkpoint gives to the same held-out replies"
    note += f"; without two different scores there is none: {', '.join(without)}" if without else ""
    spec = {
        "mark": {"type": "line", "strokeWidth": 2, "tooltip": True},
        "encoding": {
            "x": {"field": "score", "type": "quantitative", "title": "score", "axis": {"tickCount": 6}},
            "y": _y("value", ".2~f"),
            "color": _color("checkpoint", drawn, order),
        },
    }
    columns = {"checkpoint": "checkpoint", "score": "score", "value": "density"}
    return Chart("score_density", "Scores by checkpoint", note, rows, columns, spec, "No checkpoint gives two scores.")


def _iteration_scores(entries: Entries, made: Sequence[str]) -> Chart:
    rows = [
        {"iteration": entry["checkpoint"], "score": row["score"], "share": row["share"]}
        for entry in entries
        for row in entry["scores"]
        if row["share"]
    ]
    columns = {"iteration": "iteration", "score": "score", "share": "share"}
    spec = {
        "height": 44 * max(len(made), 1),
        "mark": {"type": "circle", "opacity": 1, "color": "var(--hue-1)"},
        "encoding": {
            "x": {
                "field": "score",
                "type": "quantitative",
                "title": "score",
                "scale": {"domain": [-0.3, 5.3]},
                "axis": {"values": list(range(6)), "format": "d"},
            },
            "y": {**_x("iteration", made), "axis": {}},
            "size": {"field": "share", "type": "quantitative", "scale": {"range": [4, 700]}, "legend": None},
            "tooltip": _tip(columns, {"share": ".1%"}),
        },
    }
    note = "share of an iteration's readable judgments with each score; the larger the dot, the more"
    return Chart("scores", "Scores in training data", note, rows, columns, spec, "No judge scored the responses.")


def _lengths(entries: Entries, role: str, made: Sequence[str]) -> Chart:
    group, what = f"{role}_pairs", {"actor": "responses", "judge": "judgments"}[role]
    rows = [
        {"iteration": entry["checkpoint"], "side": side, "chars": entry["metrics"][f"{group}.{side}_chars"]}
        for entry in entries
        for side in ("chosen", "rejected")
        if f"{group}.{side}_chars" in entry["metrics"]
    ]
    drawn = [name for name in made if any(row["iteration"] == name for row in rows)]
    columns = {"iteration": "iteration", "side": "side", "chars": "mean characters"}
    spec = {
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "x": _x("iteration", drawn, scale={"paddingInner": 0.35, "paddingOuter": max(0.2, 2.2 - len(drawn) / 2)}),
            "xOffset": {"field": "side", "sort": ["chosen", "rejected"]},
            "y": _y("chars", ",.0f"),
            "color": _color("side", ["chosen", "rejected"]),
            "tooltip": _tip(columns, {"chars": ",.0f"}),
        },
    }
    title, note = f"Chosen and rejected {what}", "mean characters of the pairs' two sides"
    return Chart(f"{role}_chars", title, note, rows, columns, spec, f"No iteration has {role} pairs.")


def _reasons(entries: Entries) -> Chart:
    rows = [
        {"iteration": f"{entry['checkpoint']} {role}", "reason": reason.replace("_", " "), "prompts": n}
        for entry in entries
        for role in ("actor", "judge")
        for reason, n in entry["metrics"].get(f"{role}_pairs.none", {}).items()
    ]
    places = list(dict.fromkeys(row["iteration"] for row in rows))
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["reason"]] = totals.get(row["reason"], 0) + row["prompts"]
    reasons = sorted(totals, key=lambda reason: (-totals[reason], reason))
    columns = {"iteration": "iteration, role", "reason": "reason", "prompts": "prompts"}
    longest = max((sum(r["prompts"] for r in rows if r["iteration"] == place) for place in places), default=0)
    spec = {
        "height": 36 * max(len(places), 1),
        "mark": {"type": "bar"},
        "encoding": {
            "y": {**_x("iteration", places), "axis": {}},
            "x": _counts("prompts", "prompts", longest),
            "color": _color("reason", reasons, legend={"columns": 1}),
            "order": {"field": "prompts", "sort": "descending"},
            "tooltip": _tip(columns),
        },
    }
    note = "prompts without a pair, by the one reason of each"
    return Chart("reasons", "Why prompts have no pair", note, rows, columns, spec, "Every prompt has its pairs.")


def _elo(digests: Mapping[str, Mapping[str, Any]]) -> Chart:
    rows = []
    for iteration, digest in digests.items():
        total = sum(row["judgments"] for row in digest["elo"])
        rows += [{"iteration": iteration, **row, "share": row["judgments"] / total} for row in digest["elo"]]
    drawn = [name for name, digest in digests.items() if digest["elo"]]
    columns = {"iteration": "iteration", "rating": "Elo, middle of the bin", "judgments": "judgments", "share": "share"}
    spec = {
        "mark": {"type": "line", "interpolate": "step", "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "rating",
                "type": "quantitative",
                "title": "Elo (natural logarithm of odds)",
                "axis": {"tickCount": 7},
            },
            "y": _y("share", SHARE),
            "color": _color("iteration", drawn),
            "tooltip": _tip(columns, {"rating": ".2f", "share": ".1%"}),
        },
    }
    note = "share of the judgments in battle, in bins of Elo; iterations that do not train the judge have none"
    return Chart("elo", "Elo of judgments", note, rows, columns, spec, "No iteration had battles.")


def _positions(digests: Mapping[str, Mapping[str, Any]]) -> Chart:
    kinds = {"first": "first wins", "second": "second wins", "unreadable": "no readable verdict"}
    rows = [
        {"iteration": iteration, "verdict": kinds[kind], "battles": n, "share": n / digest["n"]["battles"]}
        for iteration, digest in digests.items()
        for kind, n in digest["verdicts"].items()
        if digest["n"]["battles"]
    ]
    drawn = list(dict.fromkeys(row["iteration"] for row in rows))
    columns = {"iteration": "iteration", "verdict": "verdict", "battles": "battles", "share": "share"}
    spec = {
        "height": 52 * max(len(drawn), 1),
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "share", "type": "quantitative", "title": None, "axis": {"format": "%", "tickCount": 5}},
            "y": {**_x("iteration", drawn), "axis": {}},
            "color": _color("verdict", list(kinds.values())),
            "order": {"field": "order"},
            "tooltip": _tip(columns, {"share": ".1%", "battles": ","}),
        },
        "transform": [{"calculate": f"indexof({list(kinds.values())}, datum.verdict)", "as": "order"}],
    }
    note = "without position bias the first and the second judgment win equally often"
    return Chart("positions", "Wins by position", note, rows, columns, spec, "No iteration had battles.")


def _higher_score(entries: Entries, made: Sequence[str]) -> Chart:
    rows = [
        {"iteration": row["battles"], "difference": row["difference"], "value": row["share"]}
        | {key: row[key] for key in ("ci_low", "ci_high", "n")}
        for entry in entries
        for row in entry["bias"]
        if row["preference"] == "higher_score" and row["battles"] == entry["checkpoint"] and row["share"] is not None
    ]
    drawn = [name for name in made if any(row["iteration"] == name for row in rows)]
    columns = {"iteration": "iteration", "difference": "difference of scores", **INTERVAL}
    order = ["all", "0-1", "1-2", "2-3", "3-4", "4-5"]
    y = _y("value", SHARE, domain=[0, 1])
    offset = {"xOffset": {"field": "iteration", "sort": drawn}, "color": _color("iteration", drawn)}
    tip = _tip(columns, dict.fromkeys(("value", "ci_low", "ci_high"), ".1%"))
    spec = {
        "encoding": {"x": _x("difference", order, title="difference of the two scores, points"), **offset},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 1.5},
             "encoding": {"y": {**y, "field": "ci_low"}, "y2": {"field": "ci_high"}}},
            {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": {"y": y, "tooltip": tip}},
        ],
    }  # fmt: skip
    note = "share of decided battles won by the judgment with the higher score; bars: 95% intervals"
    return Chart("higher_score", "Higher score wins", note, rows, columns, spec, "No battle of unequal scores.")


def _curve(entries: Entries, metric: str, title: str, form: str, order: Sequence[str]) -> Chart:
    rows = [
        {"checkpoint": entry["checkpoint"], "step": row["step"], "value": row["value"]}
        for entry in entries
        for row in entry["curves"]
        if row["metric"] == metric
    ]
    drawn = [name for name in order if any(row["checkpoint"] == name for row in rows)]
    spec = {
        "mark": {"type": "line", "strokeWidth": 1.75, "point": _points(rows), "tooltip": True},
        "encoding": {
            "x": _counts("step", "step", max((row["step"] for row in rows), default=0)),
            "y": _y("value", form, zero=metric == "reward_margin"),
            "color": _color("checkpoint", drawn, order),
        },
    }
    columns = {"checkpoint": "checkpoint", "step": "step", "value": metric.replace("_", " ")}
    return Chart(metric, title, "by optimizer step", rows, columns, spec, "No training logged this.")


def _points(rows: Iterable[Row]) -> Any:
    """Few steps are also marked one by one: a training of one step draws no line."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["checkpoint"]] = counts.get(row["checkpoint"], 0) + 1
    return {"size": 24} if counts and min(counts.values()) < 12 else False
