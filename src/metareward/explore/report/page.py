"""The report as one HTML text: scripts, styles and data are in it, and it may load nothing."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from metareward.explore.report.charts import Chart, all_charts
from metareward.explore.report.overview import Table, overview_of, shown_number
from metareward.ids import content_id

HERE = Path(__file__).parent
Item = Mapping[str, Any]
MOST_BYTES = 10_000_000  # of the page: a browser opens it, and a mail takes it
SPARE_BYTES = 10_000  # for the words that depend on what fits, and for the revision
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
    """The page of a run, of at most MOST_BYTES: as many pairs as fit. The same arguments give the same text.

    entries: the last summary, an entry for each checkpoint; digests: of sft, then of each iteration, with its name
    under `iteration`; settings: the params without resources; profiles: the same of each profile, by its name;
    libraries: the scripts of Vega, Vega-Lite and Vega-Embed.
    """
    made = {digest["iteration"]: digest for digest in digests if "n" in digest}
    charts = all_charts(entries, made)
    drawn_items = [{"iteration": name, **item} for name, digest in made.items() for item in digest["items"]]
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
    fixed = {
        "policy": policy(scripts, [style]),
        "style": Markup(style),
        "scripts": [Markup(script) for script in scripts],
        "revision": Markup(REVISION),
        "charts": charts,
        "rows_of": rows_of,
        "monitors": [_monitor(row, entry["checkpoint"]) for entry in entries for row in entry.get("monitors", [])],
        "chart_data": Markup(embedded(drawn)),
    }

    def render(items: Sequence[Item]) -> str:
        return template.render(
            overview=overview_of(entries, digests, items, settings, profiles),
            filters={
                "iterations": list(made),
                "reasons": sorted({item["reason"] for item in items if "reason" in item}),
            },
            items=Markup(embedded(items)),
            **fixed,
        )

    rest = len(render([]).encode()) + SPARE_BYTES
    return render(fitting(drawn_items, MOST_BYTES - rest, settings["seed"]))


def fitting(items: Sequence[Item], most_bytes: int, seed: int) -> list[Item]:
    """As many of the items as their JSON may take bytes, in their order.

    Of each iteration, role and outcome (a pair or none) equally many, as far as there are, drawn by the seed.
    """
    groups: dict[tuple[str, str, bool], list[int]] = {}
    for k in sorted(range(len(items)), key=lambda k: content_id("report", "fit", seed, items[k]["id"])):
        groups.setdefault((items[k]["iteration"], items[k]["role"], "reason" in items[k]), []).append(k)
    kept: set[int] = set()
    for level in zip_longest(*groups.values()):
        new = [k for k in level if k is not None]
        most_bytes -= sum(len(embedded(items[k]).encode()) + 1 for k in new)
        if most_bytes < 0:
            break
        kept.update(new)
    return [item for k, item in enumerate(items) if k in kept]


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
