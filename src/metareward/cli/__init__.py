"""The command line: check the params and files, put a profile in place, show what came out."""

import json
import shutil
import sys
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Annotated

import typer

from metareward.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
PROFILES, PARAMS = Path("profiles"), Path("params.yaml")
COLUMNS = {
    "agreement_ties_half": "agreement",
    "spearman": "Spearman",
    "readable_judgments": "readable judgments",
    "readable_verdicts": "readable verdicts",
    "response_chars": "response chars",
}


@app.command()
def check() -> None:
    """Read params.yaml and every file that it names, and say what is wrong before anything runs."""
    from metareward.inputs.check import check_inputs
    from metareward.inputs.seed_model import check_seed_model
    from metareward.load_params import load_params
    from metareward.pipeline.dvc_locks import LIST, mend_lock_list

    if not (Path(".dvc").is_dir() and Path(".git").exists()):
        raise UserError("this folder is no git clone with DVC. Hint: git clone the project, or: git init && dvc init")
    if mend_lock_list():
        print(f"{LIST} was torn when DVC was killed, and is removed")
    params = load_params(PARAMS)
    check_inputs(params)
    check_seed_model(params.seed_model)
    print(f"params.yaml and its files are in order: checkpoints {', '.join(params.checkpoints)}")


@app.command()
def profile(name: Annotated[str | None, typer.Argument(help="the profile to copy; none: list them")] = None) -> None:
    """Copy a profile over params.yaml, or list the profiles with their first line."""
    known = {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}
    if name is None:
        for stem, path in known.items():
            print(f"{stem:10} {path.read_text().splitlines()[0].lstrip('# ')}")
    elif name not in known:
        raise UserError(f"{name} is not a profile. Known: {', '.join(known) or 'none; run this in the repository'}.")
    else:
        shutil.copyfile(known[name], "params.yaml")
        print(f"params.yaml is now {known[name]}. `dvc repro` runs it.")


@app.command()
def show() -> None:
    """The table of all checkpoints, from metrics.json."""
    from rich.console import Console
    from rich.table import Table

    try:
        metrics = json.loads(Path("metrics.json").read_text())
    except OSError:
        raise UserError("metrics.json is not there yet. Hint: dvc repro makes it.") from None
    held_out = metrics["held_out"]
    win_rates = {name: f"{name.replace('_', ' ')} vs seed" for name in held_out if name.startswith("win_rate_by_")}
    columns = win_rates | COLUMNS
    table = Table(title="Held-out evaluation")
    for heading in ("checkpoint", "actor pairs", "judge pairs", *columns.values()):
        table.add_column(heading, justify="left" if heading == "checkpoint" else "right", min_width=10)
    for checkpoint in held_out["response_chars"]:
        pairs = [metrics.get(f"{role}_pairs", {}).get("pairs", {}).get(checkpoint) for role in ("actor", "judge")]
        values = [held_out.get(metric, {}).get(checkpoint) for metric in columns]
        cells = ["-" if value is None else f"{value:.3f}" for value in values[:-1]]
        cells.append("-" if values[-1] is None else f"{values[-1]:.0f}")
        table.add_row(checkpoint, *("-" if pair is None else str(pair) for pair in pairs), *cells)
    Console(width=max(120, Console().width)).print(table)
    print("win rate: responses against the seed's, in both orders, by the checkpoint named; not AlpacaEval")
    print("Every number: metrics.json. Every row: data/ (Parquet). What depends on what: dvc dag. Ablations: README.md")


@app.command()
def journal(
    clear: Annotated[bool, typer.Option("--clear", help="delete those that are complete or left behind")] = False,
    everything: Annotated[bool, typer.Option("--all", help="with --clear: the unfinished, too")] = False,
) -> None:
    """List what stages have generated so far, and delete what no stage will go on from."""
    from rich.console import Console
    from rich.table import Table

    from metareward.pipeline.journals import clear_journals, list_journals
    from metareward.pipeline.stage import work_directory

    work = work_directory(Path.cwd())
    entries = list_journals(work)
    if clear:
        useless = [entry for entry in entries if everything or entry.state in ("complete", "left behind")]
        gone = clear_journals(useless)
        print(f"deleted {len(gone)} of {len(entries)} journals, {sum(entry.size for entry in gone) / 1e6:.1f} MB")
        return
    table = Table(title=f"Journals in {work}")
    for heading in ("stage", "fingerprint", "completions", "MB", "hours old", "state"):
        table.add_column(heading, justify="right" if heading in ("completions", "MB", "hours old") else "left")
    for entry in entries:
        size, age = f"{entry.size / 1e6:.1f}", f"{entry.age / 3600:.1f}"
        table.add_row(entry.stage, entry.fingerprint, str(entry.completions), size, age, entry.state)
    Console(width=max(120, Console().width)).print(table)


@app.command()
def plan(
    prefill_rate: Annotated[float | None, typer.Option(help="prompt tokens per second of one GPU or machine")] = None,
    decode_rate: Annotated[float | None, typer.Option(help="tokens written per second by one GPU or machine")] = None,
    load_seconds: Annotated[float, typer.Option(help="from a stage's start to its first token")] = 0.0,
    gpus: Annotated[int, typer.Option(help="how many of them work side by side")] = 1,
    response_tokens: Annotated[float | None, typer.Option(help="expected length; else as the held-out replies")] = None,
    judgment_tokens: Annotated[float | None, typer.Option(help="expected length; else as the examples")] = None,
    verdict_tokens: Annotated[float | None, typer.Option(help="expected length; else as the examples")] = None,
) -> None:
    """What a run will ask for: requests and tokens of each stage, disk, and time at a given speed.

    Nothing is loaded or run. Where a stage has run already, what it wrote stands beside.
    """
    from rich.console import Console
    from rich.table import Table

    from metareward.load_params import load_params
    from metareward.pipeline.plan import CHARS_PER_TOKEN, Lengths, expected_lengths
    from metareward.pipeline.plan import loads as loads_of
    from metareward.templates.texts import load_templates

    params = load_params(PARAMS)
    templates = load_templates(params.templates)
    found = expected_lengths(params, templates)
    lengths = Lengths(
        response_tokens or found.response, judgment_tokens or found.judgment, verdict_tokens or found.verdict
    )
    loads = list(loads_of(params, templates, lengths, Path("data")))
    table = Table(title="Generation")
    for heading in ("stage", "requests", "samples", "prompt tokens", "tokens written", "written so far", "h:mm:ss"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    total = busy = 0
    for load in loads:
        working = (load.prefill / (prefill_rate or inf) + load.decode / (decode_rate or inf)) / gpus
        seconds = round(working + (load_seconds if load.requests else 0))
        total, busy = total + seconds, busy + seconds * gpus
        counts = (load.requests, load.samples, load.prefill, load.decode)
        done = "-" if load.done is None else f"{load.done:,}"
        table.add_row(load.stage, *(f"{count:,}" for count in counts), done, str(timedelta(seconds=seconds)))
    table.add_section()
    sums = [sum(getattr(load, name) for load in loads) for name in ("requests", "samples", "prefill", "decode")]
    so_far = sum(load.done or 0 for load in loads)
    table.add_row("total", *(f"{count:,}" for count in sums), f"{so_far:,}", str(timedelta(seconds=total)))
    Console(width=max(120, Console().width)).print(table)
    print(
        f"expected tokens of a response {lengths.response:.0f}, a judgment {lengths.judgment:.0f}, a verdict "
        f"{lengths.verdict:.0f}; {CHARS_PER_TOKEN} characters to a token"
    )
    print(f"tables and journals: at most {2 * sums[3] * CHARS_PER_TOKEN / 1e6:,.1f} MB")
    if (seed := next((p for p in (Path("models/seed"), Path(params.seed_model)) if p.is_dir()), None)) is not None:
        size = sum(file.stat().st_size for file in seed.rglob("*") if file.is_file())
        print(f"checkpoints: {len(params.checkpoints)} of {size / 1e9:.2f} GB each")
    if prefill_rate and decode_rate:
        hours = busy / 3600
        print(f"time: {timedelta(seconds=total)} of generation, {hours:.2f} GPU-hours; training is not counted")
    else:
        print("time: give --prefill-rate and --decode-rate of the hardware")


def main() -> None:
    """The entry point: a user's mistake is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
