"""`metareward what-if`: selection asked again with other settings, from what the run has stored."""

import json
import sys
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metareward.cli.tables import WIDTH, print_table
from metareward.errors import UserError

if TYPE_CHECKING:
    from metareward.explore.what_if import Value
    from metareward.params import Params

PARAMS = Path("params.yaml")
LIBRARIES = [Path(".dvc/plots/vega") / f"{name}.min.js" for name in ("vega", "vega-lite", "vega-embed")]


def what_if(
    questions: Annotated[list[str], typer.Argument(help="KEY=VALUES: rho=0:0.6:0.05, judgments=1..11, ridge=0.01,0.1")],
    iteration: Annotated[str | None, typer.Option("--iteration", help="m1, ...; none: all that have scores")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all rows as JSON")] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.html", help="draw the answer, of one key")] = None,
) -> None:
    """Pairs that other settings would select from the judgments and battles that are there; nothing is generated.

    Keys: rho, max_chosen_chars and responses (actor pairs); judgments (both); position_weights, max_judgment_chars and
    ridge (judge pairs). Several keys make all their combinations.
    """
    from metareward.explore.what_if import KEYS, parse_question
    from metareward.load_params import load_params

    asked: dict[str, list[Value]] = {}
    for question in questions:
        key, values = parse_question(question)
        if key in asked:
            raise UserError(f"{key} is asked twice. Hint: one list of values, {key}=A,B")
        asked[key] = values
    if picture is not None:
        _check_picture(picture, list(asked))
    params = load_params(PARAMS)
    names = iterations_with_pairs(params, iteration)
    roles = [role for role in ("actor", "judge") if any(role in KEYS[key][0] for key in asked)]
    without = {(name, role): _why_none(name, role, params) for name in names for role in roles}
    said = [why for why in without.values() if why]
    rows = [row for (name, role), why in without.items() if not why for row in _ask(name, role, asked, params)]
    if not rows:
        raise UserError(" ".join(said))
    if picture is not None:
        _draw(picture, next(iter(asked)), rows)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for name, role in (place for place, why in without.items() if not why):
            _print(name, role, list(asked), [row for row in rows if (row["iteration"], row["role"]) == (name, role)])
        notes = [f"{key}: {KEYS[key][1]} ({' and '.join(KEYS[key][0])} pairs)." for key in asked]
        notes.append("* as the run has it. same: share of the run's pairs that stay, with the same two texts.")
        print("\n".join(fill(note, WIDTH) for note in notes))
    for why in said:
        print(why, file=sys.stderr if as_json else sys.stdout)


def _why_none(name: str, role: str, params: "Params") -> str | None:
    """Why a question of this role has no answer in an iteration; null: it has one."""
    from metareward.pipeline.stage import iteration_folder

    if role == "judge" and not params.iterations[name].train_judge:
        return f"{name} has no judge pairs, since it trains no judge (iterations.{name}.train_judge)."
    if not (iteration_folder(name) / f"{role}_no_pairs.parquet").exists():
        return f"{name} has no {role} pairs yet. Hint: dvc repro {role}-pairs@{name}"
    return None


def _check_picture(file: Path, keys: list[str]) -> None:
    """Raises UserError, before anything is computed, where there is no picture to be had."""
    if file.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{file} is no .html: the picture is a page that needs no network. Hint: --picture rho.html")
    if file.is_dir():
        raise UserError(f"{file} is a folder, not a file. (--picture)")
    if len(keys) > 1:
        raise UserError(f"a picture is of one key, not of {' and '.join(keys)}. Hint: ask one after the other.")


def _draw(file: Path, key: str, rows: list[dict[str, Any]]) -> None:
    from metareward.explore.picture import picture_page
    from metareward.explore.what_if import KEYS
    from metareward.tables import write_text

    try:
        libraries = [path.read_text(encoding="utf-8") for path in LIBRARIES]
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read: {error.strerror}. Hint: git checkout -- .dvc/plots"
        ) from None
    write_text(picture_page(key, KEYS[key][1], rows, libraries), file)
    print(f"{file} shows it in a browser.", file=sys.stderr)


def iterations_with_pairs(params: "Params", asked: str | None) -> list[str]:
    """The one that was asked for, or all, as far as they have pairs. Raises UserError where none has."""
    from metareward.pipeline.stage import iteration_folder

    if asked is not None and asked not in params.iterations:
        raise UserError(f"{asked} is no iteration; there are {', '.join(params.iterations)}. (--iteration)")
    names = [asked] if asked else list(params.iterations)
    names = [name for name in names if (iteration_folder(name) / "actor_no_pairs.parquet").exists()]
    if not names:
        raise UserError(f"there are no pairs of {asked or 'any iteration'} yet. Hint: dvc repro makes them.")
    return names


def _ask(name: str, role: str, asked: "dict[str, list[Value]]", params: "Params") -> list[dict[str, Any]]:
    """A row for each of the settings."""
    import polars as pl

    from metareward.explore.what_if import (
        KEYS,
        Settings,
        actor_outcomes,
        judge_outcomes,
        scan_actor_tables,
        scan_judge_tables,
        settings_of,
        summarise,
        weights_of,
    )
    from metareward.pipeline.stage import iteration_folder
    from metareward.selection.parts import in_parts
    from metareward.tables import scan_table

    folder, own = iteration_folder(name), params.iterations[name]
    control = scan_table(folder / "length_control.parquet", "length_control").collect()
    run = Settings(control["rho"].item(), own.max_chosen_chars, own.max_judgment_chars, params.elo.ridge)
    mine = {key: values for key, values in asked.items() if role in KEYS[key][0]}
    most = {"judgments": 1 if params.reward_model else params.judge.n, "responses": params.respond.n}
    mine = {key: [None if key in most and v == most[key] else v for v in values] for key, values in mine.items()}
    for key in most.keys() & mine.keys():
        if any(value is not None and int(value) > most[key] for value in mine[key]):
            raise UserError(f"{key} goes beyond {most[key]}, which is what the run has of each.")
    settings = settings_of(run, mine)
    again = any(one.judgments or one.responses for one in settings)
    tables = scan_actor_tables(folder, again) if role == "actor" else scan_judge_tables(folder)
    weights = weights_of(tables["battles"], tables["judgments"], settings) if role == "judge" else {}
    parts: dict[Settings, list[pl.DataFrame]] = {one: [] for one in settings}
    for part in in_parts(tables):
        found = actor_outcomes(part, settings) if role == "actor" else judge_outcomes(part, settings, weights)
        for one, outcome in found.items():
            parts[one].append(outcome)
    now = scan_table(folder / f"{role}_pairs.parquet", f"{role}_pairs").select("prompt_id", "chosen_id", "rejected_id")
    now_pairs = now.collect()
    rows = []
    for one in settings:
        values = {key: getattr(one, key) if getattr(one, key) is not None else most.get(key) for key in mine}
        summary = summarise(pl.concat(parts[one]), now_pairs)
        rows.append({"iteration": name, "role": role, **values, "own": one == run, **summary})
    return rows


def _print(name: str, role: str, keys: list[str], rows: list[dict[str, Any]]) -> None:
    """A table of the pairs and, where more than two reasons occur, one of the prompts without a pair below it."""
    keys = [key for key in keys if key in rows[0]]
    reasons = sorted({reason for row in rows for reason in row["none"]})
    values = [" ".join(_word(row[key]) for key in keys) + (" *" if row["own"] else "") for row in rows]
    counts = [[row["none"].get(reason, 0) for reason in reasons] for row in rows]
    asked, why = " ".join(keys).replace("_", " "), [reason.replace("_", " ") for reason in reasons]
    apart = len(reasons) > 2
    figures = [
        "Elo margin" if role == "judge" else "score margin",
        "chosen chars",
        "rejected chars",
        "chars\nmore",
        "same",
    ]
    names = ("margin", "chosen_chars", "rejected_chars", "difference", "same")
    cells = [
        [value, row["pairs"], *([] if apart else count), *(row[figure] for figure in names)]
        for value, row, count in zip(values, rows, counts, strict=True)
    ]
    print_table(f"{name}: {role} pairs", [asked, "pairs", *([] if apart else why), *figures], cells)
    if apart:
        print()
        without = [[value, *count] for value, count in zip(values, counts, strict=True)]
        print_table(f"{name}: prompts without {role} pair", [asked, *why], without)
    print()


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
