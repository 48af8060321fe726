"""Make the report of the run: report.html, one file that needs no network."""

import json
from pathlib import Path

from metareward.explore.report.page import report_page
from metareward.load_params import load_params
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import DIGESTS, REPORT, SUMMARIES, Stage
from metareward.tables import write_text

PROFILES = Path("profiles")
LIBRARIES = [Path(".dvc/plots/vega") / f"{name}.min.js" for name in ("vega", "vega-lite", "vega-embed")]


def report() -> None:
    params = load()
    last = params.checkpoints[-1]
    entries, digests = (json.loads((folder / f"{last}.json").read_text()) for folder in (SUMMARIES, DIGESTS))
    profiles = {path.stem: load_params(path).decisive() for path in sorted(PROFILES.glob("*.yaml"))}
    libraries = [path.read_text(encoding="utf-8") for path in LIBRARIES]
    page = report_page(entries, digests, params.decisive(), profiles, libraries)
    write_text(page, REPORT)
    say(Stage("report"), f"{len(page.encode()) / 1e6:.1f} MB in {REPORT}; metareward report --open shows it")


if __name__ == "__main__":
    run(report)
