"""The command line: check the params and files, put a profile in place, show what came out."""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from metareward.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
PROFILES = Path("profiles")
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
    from metareward.inputs import check_inputs
    from metareward.params import load_params
    from metareward.seed_model import check_seed_model

    if not (Path(".dvc").is_dir() and Path(".git").exists()):
        raise UserError("this folder is no git clone with DVC. Hint: git clone the project, or: git init && dvc init")
    params = load_params(Path("params.yaml"))
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


def main() -> None:
    """The entry point: a user's mistake is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
