"""The report as one HTML text: scripts, styles and data are in it, and it may load nothing."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from metareward.explore.report.charts import Chart, all_charts
from metareward.explore.report.overview import Table, overview_of, shown_number

HERE = Path(__file__).parent
REVISION = "<!-- revision -->"  # `metareward report` writes here the revision that the page is of
# What would end a script block or begin a comment in it, is no character, or ends a line of JavaScript.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def report_page(
    entries: Sequence[Mapping[str, Any]],
    digests: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    profiles: Mapping[str, Mapping[str, Any]],
    libraries: Sequence[str],
) -> str:
    """The page of a run. The same arguments give the same text.

    entries: the last summary, an entry for each checkpoint; digests: of sft, then of each iteration, with its name
    under `iteration`; settings: the params without resources; profiles: the same of each profile, by its name;
    libraries: the scripts of Vega, Vega-Lite and Vega-Embed.
    """
    made = {digest["iteration"]: digest for digest in digests if "n" in digest}
    charts = all_charts(entries, made)
    items = [{"iteration": name, **item} for name, digest in made.items() for item in digest["items"]]
    drawn = {
        chart.name: {"spec": chart.spec, "rows": chart.rows, "label": f"{chart.title}: {chart.note}"}
        for group in charts.values()
        for chart in group
        if chart.rows
    }
    style = (HERE / "style.css").read_text(encoding="utf-8")
    scripts = [script.replace("</script", "<\\/script") for script in libraries]
    scripts.append((HERE / "page.js").read_text(encoding="utf-8"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((HERE / "page.html").read_text(encoding="utf-8"))
    return template.render(
        policy=policy(scripts, [style]),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        revision=Markup(REVISION),
        overview=overview_of(entries, digests, settings, profiles),
        charts=charts,
        rows_of=rows_of,
        monitors=[_monitor(row, entry["checkpoint"]) for entry in entries for row in entry.get("monitors", [])],
        filters={
            "iterations": list(made),
            "reasons": sorted({item["reason"] for item in items if "reason" in item}),
        },
        chart_data=Markup(embedded(drawn)),
        items=Markup(embedded(items)),
    )


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A Content-Security-Policy that runs these scripts and no other, and loads nothing."""
    allowed = {"script-src": scripts, "style-src": styles}
    hashes = {name: " ".join(f"'sha256-{_sha256(text)}'" for text in texts) for name, texts in allowed.items()}
    parts = ["default-src 'none'", *(f"{name} {found}" for name, found in hashes.items())]
    return "; ".join([*parts, "connect-src 'none'", "base-uri 'none'", "form-action 'none'"])


def embedded(value: Any) -> str:
    """JSON that can stand in a script element: no text in it ends the element or is a character that HTML changes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def rows_of(chart: Chart) -> Table:
    """A chart's rows as the table below it."""
    cells = [[shown_number(row[column]) for column in chart.columns] for row in chart.rows]
    return Table(list(chart.columns.values()), cells)


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _monitor(row: Mapping[str, Any], checkpoint: str) -> dict[str, str]:
    outcomes = {True: ("passed", "passed"), False: (f"failed ({row['action']})", "failed"), None: ("not measured", "")}
    outcome, style = outcomes[row["passed"]]
    return {
        "checkpoint": checkpoint,
        "monitor": row["monitor"],
        "value": shown_number(row["value"]),
        "bad": f"{row['direction']} {shown_number(row['limit'])}",
        "outcome": outcome,
        "style": style,
        "look": row["look"],
    }
