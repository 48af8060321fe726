"""Gather what the report shows of an iteration, behind that of the iterations before it.

Each digest holds the ones before it, as the summaries do: so `report` depends on exactly the iterations that the params
name. The first one, of sft, holds what was written before the first iteration.
"""

import json
from typing import Annotated

import typer

from metareward.explore.report.digest import digest_iteration
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import DIGESTS, EFT, Stage, iteration_folder
from metareward.tables import read_table, scan_table, write_json

FILES = {
    "responses": "unique_responses",
    **{name: name for name in ("prompts", "judgments", "actor_pairs", "actor_no_pairs", "battles", "elo")},
    **{name: name for name in ("judge_pairs", "judge_no_pairs")},
}


def digest(iteration: str, prev: Annotated[str | None, typer.Argument(help="none: sft")] = None) -> None:
    params, stage = load(), Stage("digest", iteration)
    if prev is None:
        before = []
        written = read_table(EFT / "judgments.parquet", "judgments")["n_tokens"].sum()
        entry = {"iteration": iteration, "tokens": {"judgments": written}}
    else:
        before = json.loads((DIGESTS / f"{prev}.json").read_text())
        files = {name: iteration_folder(iteration) / f"{file}.parquet" for name, file in FILES.items()}
        schemas = {name: "no_pairs" if name.endswith("no_pairs") else name for name in files}
        tables = {name: scan_table(path, schemas[name]) for name, path in files.items()}
        seed = stage.seed(params.seed)
        entry = {"iteration": iteration, **digest_iteration(tables, params.report.pairs, seed)}
    write_json([*before, entry], DIGESTS / f"{iteration}.json")
    say(stage, f"{len(entry.get('items', []))} pairs and prompts to read, behind {len(before)} other digests")


if __name__ == "__main__":
    run(digest)
