"""The lineage of one row as a tree: from its prompt down to the pairs, with the numbers that decided.

Tables are taken as they are: what contradicts itself is said on its node and not followed.
"""

from dataclasses import dataclass, field
from typing import Any

from metareward.explore.broken import broken_rows
from metareward.explore.lineage import PromptRows, Row
from metareward.explore.reasons import (
    about_actor_pair,
    about_judge_pair,
    bounds_of,
    judgment_reasons,
    rank,
    response_reasons,
)
from metareward.schemas import SCORED

_MOST_BROKEN = 20  # lines of what is broken outside the tree


@dataclass
class Node:
    """A row. facts: its numbers, by name; why: sentences on what became of it; broken: what is wrong with it.

    asked: it is the row that the trace was asked for.
    """

    kind: str
    id: str | None
    facts: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    why: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    asked: bool = False
    children: list["Node"] = field(default_factory=list)


def trace_tree(found: PromptRows) -> Node:
    """The tree of a prompt, opened along the way to the row that was asked for.

    Below the prompt stand what became of it as actor and as judge, and all its responses; below a response on the way,
    its judgments; below a judgment that was asked for, its battles. Texts are those of rows on the way.
    """
    return _Tree(found).root()


class _Tree:
    def __init__(self, found: PromptRows) -> None:
        self.found, self.rows, self.asked = found, found.rows, found.place
        self.scores = {row["response_id"]: row for row in self.rows["scores"]}
        self.elos = {row["judgment_id"]: row for row in self.rows["elo"]}
        self.bounds, self.broken = bounds_of(found), broken_rows(found)
        self.why = response_reasons(found, self.bounds) | judgment_reasons(found)
        self.seen: set[str | None] = set()
        self.open_way()

    def open_way(self) -> None:
        """opened: ids whose texts are told; judged: responses whose judgments are listed; fought: battles that are."""
        kind, id_ = self.asked.kind, self.asked.id
        choices = {row["response_id"] for row in self.rows["choices"]}
        self.opened, self.judged, self.fought = {self.asked.prompt_id, id_}, set[str](), set[str]()
        if kind == "prompt":
            self.opened |= {row["response_id"] for row in self.rows["responses"]}
            self.judged |= choices
        if kind == "response":
            self.judged.add(id_)
        for row in self.rows["judgments"]:
            if kind == "judgment" and row["judgment_id"] == id_:
                self.opened.add(row["response_id"])
                self.judged.add(row["response_id"])
        for row in self.rows["battles"]:
            if kind == "battle" and row["battle_id"] == id_:
                self.opened |= {row["response_id"], row["judgment_a"], row["judgment_b"]}
                self.judged.add(row["response_id"])
                self.fought.add(id_)
        for role in ("actor", "judge"):
            for row in self.rows[f"{role}_pairs"]:
                if kind != "pair" or row["pair_id"] != id_:
                    continue
                ends = {row["chosen_id"], row["rejected_id"]}
                self.opened |= ends
                self.judged |= ends if role == "actor" else {row["response_id"]}
                if role == "judge":
                    self.opened.add(row["response_id"])
                    both = [other for other in self.rows["battles"] if _sides(other) == ends]
                    self.fought |= {other["battle_id"] for other in both}

    def root(self) -> Node:
        prompt = next(iter(self.rows["prompts"]), {})
        facts = {"rev": self.asked.rev, "iteration": self.asked.iteration, "source": prompt.get("source")}
        root = self.node("prompt", self.asked.prompt_id, facts, prompt.get("prompt"))
        root.children = [*self.pairs("actor"), *self.pairs("judge")]
        root.children += [self.response(row) for row in self.rows["responses"]]
        known = {row["response_id"] for row in self.rows["responses"]}
        for id_ in sorted({row["response_id"] for row in self.rows["judgments"]} - known):
            self.judged.add(id_)
            root.children.append(self.response({"response_id": id_, "response": None}))
            root.children[-1].broken.append("no response of the prompt has this id")
        outside = [f"{id_}: {problem}" for id_, said in self.broken.items() if id_ not in self.seen for problem in said]
        root.broken += outside[:_MOST_BROKEN]
        if len(outside) > _MOST_BROKEN:
            root.broken.append(f"and {len(outside) - _MOST_BROKEN} more")
        return root

    def pairs(self, role: str) -> list[Node]:
        """The prompt's pair in a role, or that there is none."""
        value = {"actor": "score", "judge": "elo"}[role]
        nodes = []
        for row in self.rows[f"{role}_pairs"]:
            facts = {
                "chosen": row["chosen_id"],
                f"chosen_{value}": row[f"chosen_{value}"],
                "chosen_chars": row["chosen_chars"],
                "rejected": row["rejected_id"],
                f"rejected_{value}": row[f"rejected_{value}"],
                "rejected_chars": row["rejected_chars"],
                "margin": row["margin"],
            }
            nodes.append(self.node("pair", row["pair_id"], facts, None))
        nodes = nodes or [Node("pair", None)]
        for node in nodes:
            node.facts = {"role": role} | node.facts
            node.why += about_actor_pair(self.found, self.bounds) if role == "actor" else about_judge_pair(self.found)
        return nodes

    def response(self, row: Row) -> Node:
        id_ = row["response_id"]
        score, given = self.scores.get(id_, {}), [one for one in self.rows["judgments"] if one["response_id"] == id_]
        facts = {
            "scores": [one["score"] for one in given] or None,
            "score": score.get("mean"),
            "chars": row.get("n_chars"),
            "cut": _cut(row),
            "variance": score.get("variance"),
            "sample": row.get("sample"),
        }
        node = self.node("response", id_, facts, row["response"])
        if id_ in self.judged:
            node.children = [self.judgment(one) for one in given]
            of_it = [one for one in self.rows["battles"] if one["response_id"] == id_]
            node.children += [self.battle(one) for one in of_it if one["battle_id"] in self.fought]
        return node

    def judgment(self, row: Row) -> Node:
        id_, elo = row["judgment_id"], self.elos.get(row["judgment_id"])
        facts = {"score": row["score"], "invalid": row["invalid_reason"], "chars": row["n_chars"], "cut": _cut(row)}
        if elo:
            facts |= {
                "elo": elo["elo"],
                "rank": rank(elo, self.found),
                "rated": len(self.rows["elo"]),
                "wins_first": elo["wins_first"],
                "wins_second": elo["wins_second"],
                "n_battles": elo["n_battles"],
                "ridge": elo["ridge"] or None,
            }
        node = self.node("judgment", id_, facts | {"sample": row["sample"]}, row["judgment"])
        if (self.asked.kind, self.asked.id) == ("judgment", id_):
            node.children = [self.battle(one, id_) for one in self.rows["battles"] if id_ in _sides(one)]
        return node

    def battle(self, row: Row, of: str | None = None) -> Node:
        """of: the judgment from whose side it is told."""
        facts = {"judgment_a": row["judgment_a"], "judgment_b": row["judgment_b"], "winner": row["winner"]}
        if of is not None:
            position = "a" if row["judgment_a"] == of else "b"
            won = None if row["winner"] is None else row["winner"] == position
            other = row["judgment_b" if position == "a" else "judgment_a"]
            facts = {"position": {"a": "first", "b": "second"}[position], "opponent": other, "won": won}
        return self.node("battle", row["battle_id"], facts | {"invalid": row["invalid_reason"]}, row["meta_judgment"])

    def node(self, kind: str, id_: str, facts: dict[str, Any], text: str | None) -> Node:
        self.seen.add(id_)
        return Node(
            kind=kind,
            id=id_,
            facts={name: value for name, value in facts.items() if value is not None},
            text=text if id_ in self.opened else None,
            why=list(self.why.get(id_, [])),
            broken=list(self.broken.get(id_, [])),
            asked=(kind, id_) == (self.asked.kind, self.asked.id),
        )


def _cut(row: Row) -> str | None:
    """What ended a text that did not end by itself."""
    ended: str | None = row.get("finish_reason")
    return None if ended in ("stop", SCORED) else ended


def _sides(battle: Row) -> set[str]:
    return {battle["judgment_a"], battle["judgment_b"]}
