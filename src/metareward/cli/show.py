"""`metareward show`: the table of all checkpoints."""

import json
from pathlib import Path

from metareward.errors import UserError

COLUMNS = {
    "agreement_ties_half": "agreement",
    "spearman": "Spearman",
    "readable_judgments": "readable judgments",
    "readable_verdicts": "readable verdicts",
    "response_chars": "response chars",
}


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
