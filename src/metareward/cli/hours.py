"""The last part of `metareward plan`: how long the run would take."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from metareward.cli.tables import WIDTH, print_table
from metareward.errors import UserError

if TYPE_CHECKING:
    from metareward.params import Params
    from metareward.pipeline.plan import Lengths, Load
    from metareward.templates.texts import Templates


def show_times(
    params: "Params",
    templates: "Templates",
    lengths: "Lengths",
    loads: "Sequence[Load]",
    hardware: str | None,
    parameters: float | None,
) -> None:
    """Print the time of each stage: on hardware that is named, else from the stages that have run, if any has."""
    from metareward.pipeline.costs import costly_stages, read_costs
    from metareward.pipeline.hours import (
        assumptions,
        count_parameters,
        parse_hardware,
        times_of_own,
        times_on,
        training_loads,
    )

    costs = read_costs(costly_stages(params))
    if hardware is None and not costs:
        return
    training = training_loads(params, templates, lengths)
    if hardware is None:
        times = times_of_own(loads, training, costs)
        said = "time from the stages that have run (metareward show --costs), on the hardware that they ran on"
    else:
        gpu, gpus = parse_hardware(hardware)
        folder = next((path for path in (Path("models/seed"), Path(params.seed_model)) if path.is_dir()), None)
        size = parameters or (count_parameters(folder) if folder else None)
        if not size:
            raise UserError(f"{params.seed_model} is not here to be counted. Hint: --parameters 8.03e9")
        times, said = times_on(gpu, gpus, size, loads, training), assumptions(gpu, gpus, size)
    rows = [[one.stage, None if one.seconds is None else _clock(one.seconds), one.basis] for one in times]
    total = sum(one.seconds for one in times if one.seconds is not None)
    print_table("Time", ["stage", "h:mm:ss", "from"], [*rows, ["total", _clock(total), f"{total / 3600:.2f} hours"]])
    print(fill(f"{said}. Pairs and battles are the most that there can be.", WIDTH))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
