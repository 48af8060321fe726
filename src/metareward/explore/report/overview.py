"""What the run is, in words and numbers: its model and params, its checkpoints, its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entry = Mapping[str, Any]
# of the checkpoints' table: head, metric, how a value is written
COLUMNS = (
    ("win rate", "win_rate", "share"),
    ("response chars", "response_chars", "count"),
    ("agrees with people", "agreement_ties_half", "share"),
    ("Spearman", "spearman", "plain"),
    ("readable judgments", "readable_judgments", "share"),
    ("readable verdicts", "readable_verdicts", "share"),
)
BENCHMARKS = (
    ("AlpacaEval 2", "alpaca_eval", "win_rate", "share"),
    ("AlpacaEval 2 LC", "alpaca_eval", "length_controlled_win_rate", "share"),
    ("Arena-Hard", "arena_hard", "score", "plain"),
    ("MT-Bench", "mt_bench", "mean", "plain"),
)


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first of a row names it."""

    heads: list[str]
    rows: list[list[str]]


def overview_of(
    entries: Sequence[Entry],
    digests: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    profiles: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The values of the page's first part, by name. items: what there is to read; the others as of `report_page`."""
    made = [digest for digest in digests if "n" in digest]
    profile, changes = nearest_profile(settings, profiles)
    names = [entry["checkpoint"] for entry in entries]
    return {
        "model": settings["seed_model"].rstrip("/").rsplit("/", 1)[-1].replace("embedded", "SmolLM2-135M-Instruct"),
        "lead": f"{_many(len(made), 'iteration')} after seed and SFT: checkpoints {', '.join(names)}. "
        f"Texts by engine {settings['engine']['name']}, seed {settings['seed']}.",
        "tiles": _tiles(entries, made, digests),
        "profile": profile,
        "changes": changes,
        "changed": f"The params are those of profile {profile}"
        + (f", but for {_many(len(changes), 'value')}." if changes else ", all of them.")
        if profile
        else "There is no profile to compare the params with.",
        "checkpoints": _checkpoints(entries),
        "iterations": _iterations(made),
        "browse": _browse(made, items),
    }


def nearest_profile(
    settings: Mapping[str, Any], profiles: Mapping[str, Mapping[str, Any]]
) -> tuple[str | None, list[dict[str, str]]]:
    """The profile that differs in the fewest values, and these: name, profile, run. Of several the first by name."""
    own = _flat(settings)
    found = []
    for name, profile in sorted(profiles.items()):
        other = _flat(profile)
        keys = [key for key in dict.fromkeys([*own, *other]) if own.get(key, _NONE) != other.get(key, _NONE)]
        rows = [{"name": key, "profile": _shown(other, key), "run": _shown(own, key)} for key in keys]
        found.append((len(rows), name, rows))
    if not found:
        return None, []
    _, name, rows = min(found)[:3]
    return name, rows


def shown_number(value: Any) -> str:
    """A table's cell: a number with what can be read of it, a text as it is, null as none."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


_NONE = object()


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            out |= _flat(inner, f"{before}{key}.")
        else:
            out[before + key] = inner
    return out


def _shown(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, _NONE)
    return "not there" if value is _NONE else "null" if value is None else str(value)


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def _written(value: float, kind: str) -> str:
    return {"share": f"{100 * value:.1f}%", "count": f"{value:,.0f}", "plain": f"{value:.2f}"}[kind]


def _cell(row: Entry | None, kind: str) -> str:
    if row is None or row["value"] is None:
        return "none"
    value = _written(row["value"], kind)
    if row["ci_low"] is None:
        return value
    low, high = (_written(row[key], kind).rstrip("%") for key in ("ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def _result(entry: Entry, kind: str, metric: str, benchmark: str | None = None) -> Entry | None:
    found = (row for row in entry[kind] if row["metric"] == metric and benchmark in (None, row["benchmark"]))
    return next(found, None)


def _checkpoints(entries: Sequence[Entry]) -> Table:
    graded = [one for one in BENCHMARKS if any(_result(entry, "benchmarks", one[2], one[1]) for entry in entries)]
    heads = ["checkpoint", *(head for head, *_ in COLUMNS), *(head for head, *_ in graded)]
    rows = [
        [
            entry["checkpoint"],
            *(_cell(_result(entry, "results", metric), kind) for _, metric, kind in COLUMNS),
            *(_cell(_result(entry, "benchmarks", metric, name), kind) for _, name, metric, kind in graded),
        ]
        for entry in entries
    ]
    return Table(heads, rows)


def _iterations(made: Sequence[Mapping[str, Any]]) -> Table:
    columns = {
        "prompts": "prompts",
        "responses": "responses",
        "judgments": "judgments",
        "actor pairs": "actor_pairs",
        "battles": "battles",
        "judge pairs": "judge_pairs",
    }
    rows = [
        [
            digest["iteration"],
            *(f"{digest['n'][key]:,}" for key in columns.values()),
            f"{sum(digest['tokens'].values()):,}",
        ]
        for digest in made
    ]
    return Table(["iteration", *columns, "tokens written"], rows)


def _tiles(
    entries: Sequence[Entry], made: Sequence[Mapping[str, Any]], digests: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    last = entries[-1]
    win_rate, chars = (_result(last, "results", metric) for metric in ("win_rate", "response_chars"))
    tiles = []
    if win_rate and win_rate["value"] is not None:
        note = f"{last['checkpoint']} against the seed" + _between(win_rate, "share")
        tiles.append({"name": "Win rate", "value": _written(win_rate["value"], "share"), "note": note})
    if chars and chars["value"] is not None:
        note = f"mean characters of {last['checkpoint']}" + _between(chars, "count")
        tiles.append({"name": "Response length", "value": _written(chars["value"], "count"), "note": note})
    actor, judge = (sum(digest["n"][f"{role}_pairs"] for digest in made) for role in ("actor", "judge"))
    pairs = {"value": f"{actor + judge:,}", "note": f"{actor:,} actor, {judge:,} judge"}
    tiles.append({"name": "Preference pairs", **pairs})
    tokens = sum(sum(digest["tokens"].values()) for digest in digests)
    tiles.append({"name": "Tokens written", "value": _short(tokens), "note": "for the training data, by all roles"})
    return tiles


def _between(row: Entry, kind: str) -> str:
    if row["ci_low"] is None:
        return ""
    return f", {_written(row['ci_low'], kind)} to {_written(row['ci_high'], kind)}"


def _short(n: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g} {letter}"
    return str(n)


def _browse(made: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]) -> str:
    """How many of how many there are to read, and why not more."""
    parts, all_shown = [], True
    for name, has_reason in (("pairs", False), ("prompts without a pair", True)):
        keys = [f"{role}_{'no_pairs' if has_reason else 'pairs'}" for role in ("actor", "judge")]
        total = sum(digest["n"][key] for digest in made for key in keys)
        shown = sum(("reason" in item) == has_reason for item in items)
        parts.append(f"all {total:,} {name}" if shown == total else f"{shown:,} of {total:,} {name}")
        all_shown &= shown == total
    text = f"Here are {parts[0]} and {parts[1]}"
    text += "." if all_shown else ", drawn by the seed (params.yaml: report.pairs)."
    drawn = sum(len(digest["items"]) for digest in made)
    return text + (f" {drawn:,} were drawn; more do not fit into a page of 10 MB." if len(items) < drawn else "")
