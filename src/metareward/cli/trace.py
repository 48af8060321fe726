"""`metareward trace ID`: where a row comes from, what became of it, and why."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metareward.cli.rows import printable
from metareward.errors import UserError

if TYPE_CHECKING:
    from rich.text import Text

    from metareward.explore.trace import Node

LONGEST = 240  # characters of a text, unless all of it is asked for


def trace(
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="or its beginning: of a pair, battle, judgment, response, prompt")
    ],
    rev: Annotated[str | None, typer.Option(help="a commit or an experiment; without it, the workspace")] = None,
    iteration: Annotated[str | None, typer.Option(help="where several have the id")] = None,
    full: Annotated[bool, typer.Option(help="whole texts")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one object, with whole texts")] = False,
) -> None:
    """Print the lineage of a row as a tree: up to its prompt, down to the pairs that it ended in, and why."""
    from metareward.cli.sql import notes
    from metareward.explore.lineage import VIEWS, find, rows_of_prompt
    from metareward.explore.trace import trace_tree
    from metareward.query.connection import read_run, reading_connection

    run = read_run([rev] if rev else [])
    for file in (file for view in VIEWS for file in run.files[view]):
        if file.problem and iteration in (None, file.label):
            raise UserError(file.problem)
    for note in notes(run):
        print(f"note: {note}", file=sys.stderr)
    connection = reading_connection(run)
    place, others = find(connection, id_, rev or "workspace", iteration)
    tree = trace_tree(rows_of_prompt(connection, place, others))
    if as_json:
        print(json.dumps(_filled(asdict(tree)), indent=2, ensure_ascii=True))
    else:
        _print(tree, full)


def _filled(node: dict[str, Any]) -> dict[str, Any]:
    """A node of the tree without what is empty."""
    found = {name: value for name, value in node.items() if value not in (None, [], {}, False)}
    return found | ({"children": [_filled(child) for child in node["children"]]} if node["children"] else {})


def _print(root: "Node", full: bool) -> None:
    from rich.console import Console
    from rich.tree import Tree

    console = Console(width=max(80, Console().width))
    tree = Tree(_told(root, full), guide_style="dim")
    waiting = [(root, tree)]
    while waiting:
        node, branch = waiting.pop()
        waiting += [(child, branch.add(_told(child, full))) for child in node.children]
    console.print(tree, highlight=False)
    if broken := _count_broken(root):
        console.print(f"{broken} things in these tables are broken; they are marked BROKEN and not followed.")


def _count_broken(node: "Node") -> int:
    return len(node.broken) + sum(_count_broken(child) for child in node.children)


def _told(node: "Node", full: bool) -> "Text":
    """A node's lines: what it is, its numbers, why, what is broken, its text."""
    from rich.text import Text

    said = Text()
    name = f"{node.facts['role']} pair" if node.kind == "pair" else node.kind
    said.append(name if node.id else f"no {name}", style="bold")
    if node.id:
        said.append(f" {visible(node.id)}", style="cyan")
    first, *more = [visible(", ".join(filter(None, line))) for line in _numbers(node)]
    said.append(f"  {first}" if first else "")
    said.append("  <- asked" if node.asked else "", style="bold green")
    said.append("".join(f"\n{line}" for line in more))
    said.append("".join(f"\n{visible(why)}" for why in node.why), style="yellow")
    said.append("".join(f"\nBROKEN: {visible(broken)}" for broken in node.broken), style="bold red")
    if node.text is not None:
        text = visible(node.text if full else shortened(node.text))
        said.append("".join(f"\n| {line}" for line in text.split("\n")), style="dim")
    return said


def _numbers(node: "Node") -> list[list[str]]:
    """The facts of a node in lines of parts."""
    from metareward.explore.reasons import shown

    facts = {name: shown(value) for name, value in node.facts.items()}
    if node.kind == "pair":
        value, named = ("score", "score") if facts["role"] == "actor" else ("elo", "Elo")
        ends = [
            [f"{end} {facts[end]}", f"{named} {facts[f'{end}_{value}']}", f"{facts[f'{end}_chars']} chars"]
            for end in ("chosen", "rejected")
            if end in facts
        ]
        return [[f"margin {facts['margin']}" if ends else ""], *ends]
    told = {name: f"{name} {value}" for name, value in facts.items()}
    if "scores" in facts:
        scores = " ".join("-" if score is None else f"{score:g}" for score in node.facts["scores"])
        told |= {"scores": f"score {facts.get('score', '-')} ({scores})", "score": ""}
    if "elo" in facts:
        told |= {"elo": f"Elo {facts['elo']} ({facts['rank']} of {facts['rated']})", "rank": "", "rated": ""}
        wins = f"won {facts['wins_first']} as first, {facts['wins_second']} as second, of {facts['n_battles']}"
        told |= {"wins_first": wins, "wins_second": "", "n_battles": ""}
    if "opponent" in facts:
        won = {None: "undecided", True: "won", False: "lost"}[node.facts.get("won")]
        told |= {"position": f"{won} as {facts['position']}", "opponent": f"against {facts['opponent']}", "won": ""}
    if "judgment_a" in facts:
        told |= {"judgment_a": f"A {facts['judgment_a']}", "judgment_b": f"B {facts['judgment_b']}"}
        told["winner"] = f"winner {facts.get('winner', 'none').upper()}"
    if "chars" in facts:
        told["chars"] = f"{facts['chars']} chars"
    return [list(told.values())]


def shortened(text: str) -> str:
    """The beginning of a text, and how much there is of it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} ... ({len(text)} characters)"


def visible(text: str) -> str:
    """A text of which nothing can move the cursor, colour the terminal or turn the writing: escapes stand for that."""
    return "\n".join(printable(line.expandtabs(4)) for line in text.split("\n"))
