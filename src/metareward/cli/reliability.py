"""`metareward reliability`: how well so many judgments order the responses of a prompt."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metareward.cli.tables import print_table, with_interval
from metareward.cli.what_if import iterations_with_pairs
from metareward.errors import UserError

if TYPE_CHECKING:
    from metareward.params import Params

PARAMS = Path("params.yaml")
WANTED = 0.9
NOTES = """\
reliability: the correlation to expect with as many other judgments of the same
  responses, within prompts: split halves, stepped up by Spearman and Brown's
  formula; with its 95% interval. icc: the same by analysis of variance.
same pair: share of the run's pairs that the first N judgments give (all: 1).
fewer readable: responses with fewer than N readable judgments.
Rows beyond the judgments that there are: predicted."""


def reliability(
    iteration: Annotated[str | None, typer.Option("--iteration", help="m1, ...; none: all that have scores")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all rows as JSON")] = False,
) -> None:
    """How well N judgments order the responses of a prompt: are judge.n judgments needed, or more?

    From the judgments that are there; nothing is generated.
    """
    from metareward.explore.reliability import judgments_for
    from metareward.load_params import load_params

    params = load_params(PARAMS)
    if params.reward_model is not None:
        raise UserError(
            "reliability is that of a judge's scores, and a reward model gives each response one. (params.yaml: "
            "reward_model)"
        )
    rows = [row for name in iterations_with_pairs(params, iteration) for row in _ask(name, params)]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for name in dict.fromkeys(row["iteration"] for row in rows):
        found = [row for row in rows if row["iteration"] == name]
        _print(name, found)
        enough, own = judgments_for(WANTED, found), found[params.judge.n - 1]["reliability"]
        if own is None:
            print("No reliability: it takes two judgments of two responses of a prompt, and scores that differ.")
        elif enough is None:
            print("Halves of the judgments do not agree at all: no number of them is enough.")
        else:
            print(f"{params.judge.n} judgments (as now): {own:.2f}; {WANTED} would take {enough}.")
        print()
    print(NOTES)


def _ask(name: str, params: "Params") -> list[dict[str, Any]]:
    import polars as pl

    from metareward.explore.reliability import joined, pairs_kept, reliability_rows, score_matrix
    from metareward.explore.what_if import Settings, actor_outcomes, scan_actor_tables
    from metareward.pipeline.stage import iteration_folder
    from metareward.selection.parts import in_parts
    from metareward.tables import scan_table

    folder, own, n = iteration_folder(name), params.iterations[name], params.judge.n
    rho = scan_table(folder / "length_control.parquet", "length_control").collect()["rho"].item()
    run = Settings(rho, own.max_chosen_chars, own.max_judgment_chars, params.elo.ridge)
    asked = {k: run._replace(judgments=k if k < n else None) for k in range(1, n + 1)}
    matrices, kept = [], {k: list[pl.DataFrame]() for k in asked}
    for part in in_parts(scan_actor_tables(folder, again=True)):
        part["judgments"] = part["judgments"].collect().lazy()
        columns = part["judgments"].select("prompt_id", "response_id", "sample", "score").collect()
        matrices.append(score_matrix(columns, n))
        outcomes = actor_outcomes(part, list(asked.values()))
        for k, one in asked.items():
            kept[k].append(pairs_kept(outcomes[run], outcomes[one]))
    scores = joined(matrices)
    rows = reliability_rows(
        scores, {k: pl.concat(frames) for k, frames in kept.items()}, params.evaluate.bootstrap, params.seed
    )
    counts = {"responses": len(scores.values), "pairs": sum(frame.height for frame in kept[n])}
    return [{"iteration": name, **row, **counts} for row in rows]


def _print(name: str, rows: list[dict[str, Any]]) -> None:
    cells = [
        [
            str(row["judgments"]),
            with_interval(row["reliability"], row["ci_low"], row["ci_high"], decimals=2),
            row["icc"],
            with_interval(row["pair"], row["pair_low"], row["pair_high"], decimals=2),
            row["chosen"],
            row["rejected"],
            row["fewer"],
        ]
        for row in rows
    ]
    title = f"{name}: {rows[0]['responses']} responses, {rows[0]['pairs']} actor pairs"
    headings = ["judgments", "reliability", "icc", "same pair", "same\nchosen", "same\nrejected", "fewer\nreadable"]
    print_table(title, headings, cells)
