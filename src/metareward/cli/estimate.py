"""`metareward estimate`: how long a run takes on this machine."""

from pathlib import Path
from textwrap import fill

from metareward.cli.tables import WIDTH, Cell, print_table

PARAMS = Path("params.yaml")
LEAST_SAVED = 0.04  # of the whole, or a change is not named


def estimate() -> None:
    """Say how long the run of params.yaml takes on this machine from its beginning, and what makes it shorter.

    Two seconds of work tell what the processor does; a GPU or a server is not measured.
    """
    from metareward.engines.common.device import visible_gpus
    from metareward.load_params import load_params
    from metareward.pipeline.estimate import cheaper, measure, parameters_of, work_of

    params = load_params(PARAMS)
    parameters = parameters_of(params)
    if params.engine.name != "transformers" or params.resources.ray or visible_gpus():
        print("how long it takes is known for one processor alone; `metareward plan --hardware` estimates GPUs")
        return
    if parameters is None:
        print(f"how long it takes is not known, since {params.seed_model} is not here to be counted")
        return
    machine = measure()
    work = work_of(params, machine, parameters)
    whole = sum(one.seconds for one in work)
    figures = [
        (one.stage, one.read, one.written, one.trained, one.multiply_adds / 1e12, one.seconds / 60) for one in work
    ]
    figures.append(("all", *(sum(column) for column in list(zip(*figures, strict=True))[1:])))
    rows: list[list[Cell]] = [
        [
            stage,
            *(f"{n:,}" if n else "" for n in tokens),
            f"{multiply_adds:.1f}" if multiply_adds else "",
            f"{minutes:.1f}",
        ]
        for stage, *tokens, multiply_adds, minutes in figures
    ]
    heads = ["stage", "tokens\nread", "written", "trained", "10^12\nmultiply-adds", "minutes\nhere"]
    print_table("From beginning to end", heads, rows)
    speed = f"{machine.operations / 1e9:.0f} GFLOPS, {machine.start:.1f} s to load the libraries of a stage"
    print(fill(f"about {_minutes(whole)} minutes on this machine ({machine.name}: {speed}), less what is there", WIDTH))
    saved = {
        change: whole - sum(one.seconds for one in work_of(less, machine, parameters))
        for change, less in cheaper(params)
    }
    if named := [f"{change} (-{_minutes(part)})" for change, part in saved.items() if part > LEAST_SAVED * whole]:
        print(fill(f"what makes it shorter, in params.yaml: {', '.join(named)}", WIDTH))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}"
