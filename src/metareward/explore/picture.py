"""What other settings would select, drawn: one HTML page that may load nothing, like the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from metareward.explore.report.page import embedded, policy

HERE = Path(__file__).parent
HUES = 7
FEW = 12  # whole numbers that are labelled one by one
TWO_BY_TWO = ".charts { grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }"
Row = Mapping[str, Any]
FIGURES = {
    "pairs": ("Pairs", "prompts that give one", ",.0f"),
    "difference": ("Characters more", "of chosen than of rejected texts, mean over the pairs; dashed: equal", ",.0f"),
    "margin": ("Margin", "", ".2~f"),
    "same": ("Share that stays", "of the run's pairs, with the same two texts", ".0%"),
}


def picture_page(key: str, meaning: str, rows: Sequence[Row], libraries: Sequence[str]) -> str:
    """The page of a question about one key, a line for each iteration, the run's own value marked.

    rows: `iteration`, `role`, the key's value, `own`, and the figures of `summarise`; libraries: the scripts of Vega,
    Vega-Lite and Vega-Embed.
    """
    drawn: dict[str, Any] = {}
    sections = {}
    for role in dict.fromkeys(row["role"] for row in rows):
        mine = [row for row in rows if row["role"] == role]
        charts = [_chart(role, figure, key, mine) for figure in FIGURES]
        parts = ("spec", "rows", "label")
        drawn |= {chart["name"]: {part: chart[part] for part in parts} for chart in charts if chart["rows"]}
        sections[role] = {"charts": charts, "table": [[row["iteration"], *_cells(row, key)] for row in mine]}
    style = (HERE / "report/style.css").read_text(encoding="utf-8") + TWO_BY_TWO
    scripts = [script.replace("</script", "<\\/script") for script in libraries]
    scripts.append((HERE / "picture.js").read_text(encoding="utf-8"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((HERE / "picture.html").read_text(encoding="utf-8"))
    return template.render(
        policy=policy(scripts, [style]),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        key=key,
        meaning=meaning,
        sections=sections,
        heads=["iteration", key.replace("_", " "), *(title.lower() for title, _, _ in FIGURES.values())],
        chart_data=Markup(embedded(drawn)),
    )


def _chart(role: str, figure: str, key: str, rows: Sequence[Row]) -> dict[str, Any]:
    title, note, form = FIGURES[figure]
    if figure == "margin":
        note = "of the mean scores, in points" if role == "actor" else "of the Elos"
    values = [row[key] for row in rows]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    points = [
        {
            "iteration": row["iteration"],
            "x": row[key] if numbers else shown(row[key]),
            "y": row[figure],
            "own": row["own"],
        }
        for row in sorted(rows, key=lambda row: _last_null(row[key]))
        if row[figure] is not None
    ]
    names = list(dict.fromkeys(row["iteration"] for row in rows))
    x: dict[str, Any] = {"field": "x", "title": key.replace("_", " ")}
    if numbers:
        few = len(set(values)) <= FEW and all(isinstance(value, int) for value in values)
        axis = {"values": sorted(set(values)), "format": "d"} if few else {}
        scale = {"domain": [min(values), max(values)], "nice": False, "padding": 8}
        x |= {"type": "quantitative", "axis": axis, "scale": scale}
    else:
        order = [shown(value) for value in sorted(set(values), key=_last_null)]
        x |= {"type": "ordinal", "sort": order, "scale": {"domain": order}, "axis": {"labelAngle": 0}}
    hues = [f"var(--hue-{k % HUES + 1})" for k in range(len(names))]
    height = {"domain": [0, 1]} if figure == "same" else {"zero": figure != "margin", "nice": True}
    y = {"field": "y", "type": "quantitative", "title": None, "axis": {"format": form, "tickCount": 5}, "scale": height}
    tip = [
        {"field": "iteration", "title": "iteration"},
        {"field": "x", "title": key.replace("_", " ")},
        {"field": "y", "title": title.lower(), "type": "quantitative", "format": form},
    ]
    color = {"field": "iteration", "type": "nominal", "sort": names, "title": None,
             "scale": {"domain": names, "range": hues}, "legend": {"symbolType": "circle"}}  # fmt: skip
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "strokeWidth": 2}},
        {"mark": {"type": "point", "filled": True, "size": 24, "opacity": 1}, "encoding": {"tooltip": tip}},
        {
            "mark": {
                "type": "point",
                "filled": True,
                "size": 170,
                "shape": "diamond",
                "opacity": 1,
                "stroke": "var(--paper)",
            },
            "transform": [{"filter": "datum.own"}],
            "encoding": {"tooltip": tip},
        },
    ]
    if figure == "difference":
        dashes = {"type": "rule", "strokeDash": [4, 4], "color": "var(--muted)"}
        layers.insert(0, {"mark": dashes, "encoding": {"x": None, "color": None, "y": {"datum": 0}}})
    name = f"{role}-{figure}"
    spec = {"encoding": {"x": x, "y": y, "color": color}, "layer": layers}
    return {
        "name": name,
        "title": title,
        "note": note,
        "label": f"{title} by {key}: {note}",
        "spec": spec,
        "rows": points,
    }


def shown(value: Any) -> str:
    """A value of a key as a person writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _last_null(value: Any) -> tuple[bool, float]:
    return value is None, value or 0


def _cells(row: Row, key: str) -> list[str]:
    value = shown(row[key]) + (" (as the run has it)" if row["own"] else "")
    forms = {"pairs": "{:,}", "difference": "{:,.1f}", "margin": "{:.3f}", "same": "{:.1%}"}
    return [value, *("none" if row[name] is None else forms[name].format(row[name]) for name in FIGURES)]
