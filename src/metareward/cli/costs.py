"""`metareward show --costs`: what each stage of the run took."""

from datetime import timedelta
from pathlib import Path
from textwrap import fill

from metareward.cli.tables import WIDTH, Cell, print_table
from metareward.errors import UserError

PARAMS = Path("params.yaml")


def show_costs() -> None:
    """Print the time, tokens and memory of the costly stages that have run. Raises UserError where none has."""
    from metareward.load_params import load_params
    from metareward.pipeline.costs import costly_stages, read_costs
    from metareward.pipeline.plan import CHARS_PER_TOKEN

    stages = costly_stages(load_params(PARAMS))
    found = read_costs(stages)
    if not found:
        raise UserError("no stage has left what it took yet. Hint: dvc repro makes data/costs/.")
    rows: list[list[Cell]] = []
    for row in found:
        memory = "-" if row["gpu_memory_gb"] is None else f"{row['gpu_memory_gb']:.1f}"
        tokens = [row["prompt_chars"] / CHARS_PER_TOKEN, row["tokens_written"], row["tokens_trained"]]
        counts = [f"{round(count):,}" if count else "-" for count in tokens]
        time = str(timedelta(seconds=round(row["seconds"]))) + ("*" if row["killed"] else "")
        rows.append(
            [row["stage"], time, *counts, f"{row['tokens_per_second']:,.0f}", f"{row['memory_gb']:.1f}", memory]
        )
    total = timedelta(seconds=round(sum(row["seconds"] for row in found)))
    sums = [sum(row[name] for row in found) for name in ("prompt_chars", "tokens_written", "tokens_trained")]
    rows.append(["total", str(total), *(f"{round(n):,}" for n in (sums[0] / CHARS_PER_TOKEN, *sums[1:])), "", "", ""])
    headings = ["stage", "h:mm:ss", "prompt\ntokens", "tokens\nwritten", "tokens\ntrained", "a second"]
    print_table("What the stages took", [*headings, "memory\nGB", "GPU\nGB"], rows)
    for name, count in {(row["hardware"], row["gpus"]): None for row in found}:
        print(fill(f"hardware: {name}" + (f", {count} visible" if count else ""), WIDTH))
    notes = [
        f"prompt tokens: characters / {CHARS_PER_TOKEN}; what neighbours share is counted each time. a second: tokens "
        "written or trained, by the whole time of the stage, from its start with loading and tables to its end."
    ]
    if killed := sum(row["killed"] for row in found):
        notes.append(
            f"*: with the time of {killed} process{'es' * (killed > 1)} that did not end; of each the seconds since "
            "its last note are missing (5, or a batch or step), and all before its first."
        )
    if missing := [stage for stage in stages if stage not in {row["stage"] for row in found}]:
        notes.append(f"not run yet: {', '.join(missing)}.")
    print("\n".join(fill(note, WIDTH) for note in notes))
