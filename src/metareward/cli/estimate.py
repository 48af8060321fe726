"""`metareward estimate`: how long a run takes on this machine."""

from pathlib import Path

PARAMS = Path("params.yaml")
LEAST_SAVED = 0.04  # of the whole, or a change is not named


def estimate() -> None:
    """Say how long the run of params.yaml takes on this machine from its beginning, and what makes it shorter.

    Two seconds of work tell what the processor does; a GPU or a server is not measured.
    """
    from metareward.engines.common.device import visible_gpus
    from metareward.load_params import load_params
    from metareward.pipeline.estimate import cheaper, measure, parameters_of, seconds_here

    params = load_params(PARAMS)
    parameters = parameters_of(params)
    if params.engine.name != "transformers" or params.resources.ray or visible_gpus():
        print("how long it takes is known for one processor alone; `metareward plan --hardware` estimates GPUs")
        return
    if parameters is None:
        print(f"how long it takes is not known, since {params.seed_model} is not here to be counted")
        return
    machine = measure()
    seconds = seconds_here(params, machine, parameters)
    whole = sum(seconds.values())
    parts = ", ".join(f"{_minutes(part)} {name}" for name, part in seconds.items())
    print(f"from the beginning it takes about {_minutes(whole)} minutes here: {parts}")
    print(f"({machine.name}: {machine.operations / 1e9:.0f} GFLOPS; a stage is loaded in {machine.start:.1f} s)")
    saved = {change: whole - sum(seconds_here(less, machine, parameters).values()) for change, less in cheaper(params)}
    named = [f"{change} (-{_minutes(part)})" for change, part in saved.items() if part > LEAST_SAVED * whole]
    if named:
        print(f"for less, in params.yaml: {', '.join(named)}; what is there already is not made again")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}"
