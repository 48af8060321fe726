"""`metareward compare`: what tells two checkpoints apart, on the same prompts."""

from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer

from metareward.cli.tables import WIDTH, Cell, print_table, short, with_interval
from metareward.errors import UserError

PARAMS = Path("params.yaml")


def compare(
    first: Annotated[str, typer.Argument(help="a checkpoint: seed, sft, m1, ...")],
    second: Annotated[str, typer.Argument(help="another one")],
) -> None:
    """The second checkpoint's value of each metric minus the first one's, with a 95% interval over the same prompts."""
    from metareward.evaluation.outcomes import differences_table, unpaired, value_of
    from metareward.load_params import load_params
    from metareward.pipeline.outcomes import read_outcomes

    params = load_params(PARAMS)
    for name in (first, second):
        if name not in params.checkpoints:
            raise UserError(f"{name} is no checkpoint. Known: {', '.join(params.checkpoints)}. ({PARAMS}: checkpoints)")
    if first == second:
        raise UserError(f"{first} is compared with itself: name two checkpoints")
    outcomes = {name: read_outcomes(name) for name in (first, second)}
    found = differences_table(outcomes, [(second, first)], params.evaluate.bootstrap, params.seed)
    rows: list[list[Cell]] = []
    for row in found.iter_rows(named=True):
        values = [value_of(outcomes[name], row["metric"], row["referee"]) for name in (first, second)]
        metric = row["metric"] + (f"_by_{row['referee']}" if row["referee"] else "")
        difference = with_interval(row["value"], row["ci_low"], row["ci_high"], sign=True)
        rows.append([metric, *map(_shown, values), difference, row["n"], _verdict(row["ci_low"], row["ci_high"])])
    print_table(
        f"{second} minus {first}, with 95% intervals over prompts",
        ["metric", first, second, "difference", "prompts", "told apart"],
        rows,
    )
    for metric, n in unpaired(outcomes[first], outcomes[second]).items():
        print(f"{metric}: {n} prompts that only one of the two has are left out")
    n_noise = sum(row[-1] == "no" for row in rows)
    print(
        fill(
            f"told apart: the interval leaves out 0. {n_noise} of {len(rows)} differences are NOISE: theirs hold 0, so "
            "these prompts do not tell the two apart. Of 20 differences that are nothing, one leaves 0 out by chance.",
            WIDTH,
        )
    )


def _verdict(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else "no" if low <= 0 <= high else "yes"


def _shown(value: float | None) -> str | None:
    return None if value is None else short(value)
