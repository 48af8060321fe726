"""What the rows of one prompt say that cannot be: ids that lead nowhere, stand twice or lead in a circle."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from metareward.explore.lineage import KINDS, PromptRows, Row

Broken = dict[str, list[str]]


def broken_rows(found: PromptRows) -> Broken:
    """What is wrong, by the id of the row that is wrong."""
    said: Broken = defaultdict(list)
    for id_, problem in _problems(found):
        said[id_].append(problem)
    return said


def _problems(found: PromptRows) -> Iterator[tuple[str, str]]:
    rows, place = found.rows, found.place
    responses = {row["response_id"]: row for row in rows["responses"]}
    judgments = {row["judgment_id"]: row for row in rows["judgments"]}
    if not rows["prompts"]:
        yield place.prompt_id, "no prompt of the iteration has this id"
    if found.others:
        yield place.id, f"rows of {len(found.others)} more prompts have this id, {found.others[0]} for one"
    for views, column in KINDS.values():
        for view in views:
            for id_, n in Counter(row[column] for row in rows[view]).items():
                if n > 1:
                    yield id_, f"{n} rows of {view} have this id"
    for view in ("actor_pairs", "judge_pairs", "choices"):
        if len(rows[view]) > 1:
            yield place.prompt_id, f"{len(rows[view])} rows of {view} are of this prompt"
    for role in ("actor", "judge"):
        if rows[f"{role}_pairs"] and any(row["role"] == role for row in rows["no_pairs"]):
            yield place.prompt_id, f"has a pair as {role}, and a reason why it has none"
    for row in rows["responses"]:
        if problem := _wrong_duplicate(row, responses):
            yield row["response_id"], problem
    for view in ("judgments", "scores", "choices", "battles", "elo"):
        for row in rows[view]:
            id_ = row["response_id"]
            if id_ is not None and id_ not in responses:
                yield _id_of(row), f"{view}: its response {id_} is not among the prompt's"
    for row in rows["battles"]:
        for side in "ab":
            judgment = judgments.get(row[f"judgment_{side}"])
            if judgment is None:
                yield row["battle_id"], f"judgment_{side} {row[f'judgment_{side}']} is not among the prompt's"
            elif judgment["response_id"] != row["response_id"]:
                yield row["battle_id"], f"judgment_{side} {judgment['judgment_id']} is of another response"
    for row in rows["elo"]:
        if row["judgment_id"] not in judgments:
            yield row["judgment_id"], "elo: no judgment of the prompt has this id"
    for role, texts, column in (("actor", responses, "response"), ("judge", judgments, "judgment")):
        for pair in rows[f"{role}_pairs"]:
            for end in ("chosen", "rejected"):
                id_ = pair[f"{end}_id"]
                if id_ not in texts:
                    yield pair["pair_id"], f"{end}_id {id_} is no {column} of the prompt"
                elif texts[id_][column] != pair[end]:
                    yield pair["pair_id"], f"{end} is another text than that of {column} {id_}"


def _wrong_duplicate(row: Row, responses: dict[str, Row]) -> str | None:
    """What is wrong with the response of which this one is a duplicate; null: nothing."""
    seen, at = [row["response_id"]], row["duplicate_of"]
    while at is not None:
        if at in seen:
            return f"duplicate_of leads in a circle: {' -> '.join([*seen[seen.index(at) :], at])}"
        if at not in responses:
            return f"duplicate_of {at} is no response of the prompt"
        seen.append(at)
        at = responses[at]["duplicate_of"]
    if len(seen) > 2:
        return f"duplicate_of {seen[1]} is a duplicate itself, of {seen[2]}"
    if len(seen) == 2 and responses[seen[1]]["response"] != row["response"]:
        return f"is said to be a duplicate of {seen[1]}, but has another text"
    return None


def _id_of(row: Row) -> str:
    """The id of a row of any table of a prompt."""
    return str(next(row[name] for name in ("judgment_id", "battle_id", "response_id", "prompt_id") if row.get(name)))
