"""`metareward exp`: the experiments of this clone, narrower and faster than `dvc exp show`."""

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from metareward.cli.intervals import Intervals, parse_intervals
from metareward.cli.show import HELD_OUT
from metareward.cli.tables import WIDTH, print_table, with_interval
from metareward.errors import UserError

WORKSPACE = "workspace"


def exp(as_json: Annotated[bool, typer.Option("--json", help="the same as JSON")] = False) -> None:
    """The last checkpoint of each experiment, and the params that tell it from the commit that it began from."""
    found = read_experiments(Path.cwd())
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rates = sorted({name for one in found for name in one["metrics"] if name.startswith("win_rate_by_")})
    columns = {name: name.replace("_", " ") for name in rates} | HELD_OUT
    rows = [
        [one["name"], one["checkpoint"] or "-", *(_cell(one["metrics"].get(name)) for name in columns)] for one in found
    ]
    print_table("Last checkpoints, with 95% intervals", ["experiment", "last", *columns.values()], rows)
    print()
    for one in found:
        changed = ", ".join(f"{key}={after} (was {before})" for key, (before, after) in one["changed"].items())
        since = "of the working tree" if one["name"] == WORKSPACE else one["date"][:16].replace("T", " ")
        print(
            fill(
                f"{one['name']} ({since}, from {one['from'][:7]}): {changed or 'no param changed'}",
                WIDTH,
                subsequent_indent="  ",
            )
        )
    if len(found) == 1:
        print("There are no experiments in this clone. Hint: dvc exp run --name NAME -S rho=0.0")


def read_experiments(folder: Path) -> list[dict[str, Any]]:
    """The working tree, then each experiment, the oldest first.

    name; from: the commit that it began from; date: null of the working tree; changed: {param: [before, after]};
    checkpoint: its last one, and metrics: of that one {metric: [value, ci_low, ci_high]}, null and empty of a run that
    has no metrics.json. Raises UserError where this is no git clone with a commit.
    """
    from metareward.query.revisions import Revision, all_experiments, file_at, find_revisions, parent_and_date
    from metareward.query.workspace import project_root

    root = project_root(folder)
    (head,) = find_revisions(root, ["HEAD"])
    names = ("params.yaml", "metrics.json", "plots/intervals.json")
    here = [path.read_bytes() if (path := root / name).is_file() else None for name in names]
    bases = {head.commit: _params(file_at(root, head, "params.yaml"))}
    found = [_row(WORKSPACE, head.commit, None, bases[head.commit], here)]
    dated = [(*parent_and_date(root, one), one) for one in all_experiments(root)]
    for base, date, one in sorted(dated, key=lambda entry: (entry[1], entry[2].name)):
        if base not in bases:
            bases[base] = _params(file_at(root, Revision(base, base), "params.yaml"))
        found.append(_row(one.name, base, date, bases[base], [file_at(root, one, name) for name in names]))
    return found


def _row(
    name: str, base: str, date: str | None, before: Mapping[str, str | None], texts: list[bytes | None]
) -> dict[str, Any]:
    params, metrics, intervals = texts
    after = _params(params)
    changed = {
        key: [before.get(key), after.get(key)] for key in {**before, **after} if before.get(key) != after.get(key)
    }
    row = {"name": name, "from": base, "date": date, "changed": changed}
    try:
        held_out = json.loads(metrics)["held_out"] if metrics else {}
        last = list(held_out["response_chars"])[-1] if held_out else None
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(
            f"metrics.json of {name} is not what a run writes. Hint: dvc repro --force metrics makes it anew."
        ) from None
    read = parse_intervals(intervals) if intervals else {}
    values = {metric: _with_interval(metric, last, of[last], read) for metric, of in held_out.items() if last in of}
    return row | {"checkpoint": last, "metrics": values}


def _with_interval(metric: str, checkpoint: str | None, value: float, intervals: Intervals) -> list[float | None]:
    found = intervals.get(("held_out", metric, checkpoint or ""), {})
    return [value, found.get("ci_low"), found.get("ci_high")]


def _params(text: bytes | None) -> dict[str, str | None]:
    """Values by dotted name."""
    import yaml

    from metareward.query.workspace import param_rows

    try:
        return {name: value for _, name, value in param_rows("", yaml.safe_load(text) if text else {})}
    except yaml.YAMLError as error:
        raise UserError(f"a params.yaml cannot be read: {str(error).splitlines()[0]}") from None


def _cell(value: list[float | None] | None) -> str:
    return "-" if value is None else with_interval(value[0], value[1], value[2])
