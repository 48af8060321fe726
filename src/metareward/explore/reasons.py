"""Why a response or judgment of one prompt was chosen, rejected, or neither: METHOD §3.4 and §4 in sentences."""

from dataclasses import dataclass
from typing import Any

from metareward.explore.lineage import PromptRows, Row
from metareward.selection.elo import TIE
from metareward.selection.pairs import EQUAL, REASONS

Reasons = dict[str, list[str]]


@dataclass(frozen=True)
class Bounds:
    """Length control of one prompt: chosen responses score at least `chosen`, rejected ones at most `rejected`."""

    rho: float
    source: str  # the param or metric that rho comes from
    best: float
    worst: float

    @property
    def chosen(self) -> float:
        return self.best - self.rho * (self.best - self.worst)

    @property
    def rejected(self) -> float:
        return self.worst + self.rho * (self.best - self.worst)


def bounds_of(found: PromptRows) -> Bounds | None:
    """Null where rho is not known or fewer than two responses are scored."""
    means = [row["mean"] for row in found.rows["scores"] if row["mean"] is not None]
    rho, source = _rho(found)
    return Bounds(rho, source, max(means), min(means)) if rho is not None and len(means) > 1 else None


def _rho(found: PromptRows) -> tuple[float | None, str]:
    """The rho with which pairs were selected, and what set it: the one recorded, else the one of the params."""
    own = f"iterations.{found.place.iteration}.rho"
    value, source = found.params.get("rho"), "rho"
    if value == "schedule":
        value, source = found.params.get(own), own
    if found.rho is not None:
        recorded = "recorded with the pairs" if found.set_by == "params" else str(found.set_by)
        return found.rho, source if found.rho == value else recorded
    return (float(value), source) if isinstance(value, int | float) else (None, source)


def _limit(found: PromptRows, role: str, name: str) -> list[str]:
    """The iteration's limit of chosen texts, where it has one that mattered."""
    limit = found.params.get(f"iterations.{found.place.iteration}.{name}")
    reasons = [row["reason"] for row in found.rows["no_pairs"] if row["role"] == role]
    if not isinstance(limit, int) or any(not reason.endswith("too_long") for reason in reasons):
        return []
    return [f"chosen may have {limit} characters ({name})"]


def about_actor_pair(found: PromptRows, bounds: Bounds | None) -> list[str]:
    """What set the bounds of the prompt's responses, and why there is no pair."""
    pairs, said = found.rows["actor_pairs"], []
    if bounds:
        said.append(
            f"rho {shown(bounds.rho)} ({bounds.source}): chosen scores at least {shown(bounds.chosen)}, "
            f"rejected at most {shown(bounds.rejected)} (best {shown(bounds.best)}, worst {shown(bounds.worst)})"
        )
    said += _no_pair(found, "actor")
    if not pairs and bounds and bounds.best - bounds.worst > EQUAL:
        chosen, rejected = _candidates(found, bounds)
        said.append(f"length control picked {_told(chosen[0])} over {_told(rejected[0])}")
    said += _limit(found, "actor", "max_chosen_chars")
    if pairs and bounds:
        chosen, rejected = _candidates(found, bounds)
        said += _another((chosen[0]["response_id"], rejected[0]["response_id"]), pairs[0])
    return said


def response_reasons(found: PromptRows, bounds: Bounds | None) -> Reasons:
    """Of each response: why it is chosen, rejected, or neither, and why its judgments battle or not."""
    said: Reasons = {row["response_id"]: [] for row in found.rows["responses"]}
    scores = {row["response_id"]: row for row in found.rows["scores"]}
    for row in found.rows["responses"]:
        id_, score = row["response_id"], scores.get(row["response_id"])
        if row["duplicate_of"] is not None:
            said[id_].append(f"identical to {row['duplicate_of']}: not judged")
        elif row["response"] is None:
            said[id_].append(f"has no text ({row['finish_reason']}): not judged")
        elif score and score["n_valid"] == 0:
            said[id_].append("none of its judgments has a score: takes no part in pairs")
        elif score and bounds:
            said[id_] += _length_control(score, found, bounds)
        if score and score["n_valid"]:
            said[id_] += _choice(score, found)
    return said


def _length_control(score: Row, found: PromptRows, bounds: Bounds) -> list[str]:
    """How a scored response stands to both bounds."""
    pair = next(iter(found.rows["actor_pairs"]), None)
    if bounds.best - bounds.worst <= EQUAL:
        return []
    said = []
    for role, candidates, word, beside, bound in zip(
        ("chosen", "rejected"),
        _candidates(found, bounds),
        ("shortest", "longest"),
        ("at or above", "at or below"),
        (bounds.chosen, bounds.rejected),
        strict=True,
    ):
        n, first = len(candidates), candidates[0]
        if score["response_id"] == (pair[f"{role}_id"] if pair else first["response_id"]):
            which = f"the {word} of {n} responses" if n > 1 else "the only response"
            said.append(f"{role if pair else f'would be {role}'}: {which} {beside} {shown(bound)}")
        elif score in candidates:
            said.append(f"may be {role} ({beside} {shown(bound)}), but {_told(first)} {_why_first(first, score, word)}")
    return said or [f"neither: between {shown(bounds.rejected)} and {shown(bounds.chosen)}"]


def _why_first(first: Row, other: Row, word: str) -> str:
    if first["n_chars"] != other["n_chars"]:
        return f"is {word.replace('est', 'er')}"
    if first["mean"] != other["mean"]:
        return f"has the {'better' if word == 'shortest' else 'worse'} score at equal length"
    return "has the lower sample at equal length and score"


def _candidates(found: PromptRows, bounds: Bounds) -> tuple[list[Row], list[Row]]:
    """The responses that may be chosen and those that may be rejected, the one that is taken first (METHOD §3.4)."""
    scored = [row for row in found.rows["scores"] if row["mean"] is not None]
    chosen = [row for row in scored if row["mean"] >= bounds.chosen - EQUAL]
    rejected = [row for row in scored if row["mean"] <= bounds.rejected + EQUAL]
    chosen.sort(key=lambda row: (row["n_chars"], -row["mean"], row["sample"]))
    rejected.sort(key=lambda row: (-row["n_chars"], row["mean"], row["sample"]))
    return chosen, rejected


def _choice(score: Row, found: PromptRows) -> list[str]:
    """Whether the response's judgments went into battle (METHOD §4.1)."""
    choice = next(iter(found.rows["choices"]), None)
    if choice is None or choice["response_id"] is None:
        return []
    if choice["response_id"] == score["response_id"]:
        drawn = f", drawn from {choice['n_tied']} with as high a one" if choice["n_tied"] > 1 else ""
        return [f"its judgments battle: highest variance of scores, {shown(score['variance'])}{drawn}"]
    if score["n_distinct"] < 2:
        return ["its judgments do not battle: fewer than two different valid ones"]
    if choice["variance"] - score["variance"] <= EQUAL:
        return [f"its judgments do not battle: of equal variances, {shown(score['variance'])}, the seed drew another"]
    return [
        f"its judgments do not battle: variance {shown(score['variance'])}, the highest {shown(choice['variance'])}"
    ]


def about_judge_pair(found: PromptRows) -> list[str]:
    """Which judgments battled, who was taken, and why there is no pair."""
    said = _no_pair(found, "judge")
    choice = next(iter(found.rows["choices"]), None)
    if choice and choice["response_id"] is not None:
        said.append(f"judgments of response {choice['response_id']} battle")
    said += _limit(found, "judge", "max_judgment_chars")
    pair, (chosen, rejected) = next(iter(found.rows["judge_pairs"]), None), _ends(found)
    if pair and chosen and rejected:
        expected = chosen[0]["judgment_id"], rejected[0]["judgment_id"]
        said += _another(expected, pair)
    return said


def judgment_reasons(found: PromptRows) -> Reasons:
    """Of each judgment at the top or bottom of the Elos: whether it was taken, and for what (METHOD §4.6)."""
    pair = next(iter(found.rows["judge_pairs"]), None)
    said: Reasons = {row["judgment_id"]: [] for row in found.rows["elo"]}
    elos = [row["elo"] for row in found.rows["elo"]]
    if not elos or max(elos) - min(elos) <= TIE:
        return said
    for role, word, length, tied in zip(
        ("chosen", "rejected"), ("highest", "lowest"), ("shorter", "longer"), _ends(found), strict=True
    ):
        for row in tied:
            id_, first = row["judgment_id"], tied[0]
            if id_ == (pair[f"{role}_id"] if pair else first["judgment_id"]):
                ties = f" (shared by {len(tied)}: the {length}, then the lower sample)" if len(tied) > 1 else ""
                said[id_].append(f"{role if pair else f'would be {role}'}: {word} Elo of {len(said)}{ties}")
            else:
                but = length if row["n_chars"] != first["n_chars"] else "as long and of a lower sample"
                said[id_].append(f"not {role}: shares the {word} Elo, but {first['judgment_id']} is {but}")
    return said


def _ends(found: PromptRows) -> tuple[list[Row], list[Row]]:
    """The judgments of highest and those of lowest Elo, the one that is taken first (METHOD §4.6)."""
    judgments = {row["judgment_id"]: row for row in found.rows["judgments"]}
    rated = [row | judgments[row["judgment_id"]] for row in found.rows["elo"] if row["judgment_id"] in judgments]
    if not rated:
        return [], []
    highest, lowest = max(row["elo"] for row in rated), min(row["elo"] for row in rated)
    chosen = [row for row in rated if highest - row["elo"] <= TIE]
    rejected = [row for row in rated if row["elo"] - lowest <= TIE]
    chosen.sort(key=lambda row: (row["n_chars"], row["sample"]))
    rejected.sort(key=lambda row: (-row["n_chars"], row["sample"]))
    return chosen, rejected


def _another(expected: tuple[str, str], pair: Row) -> list[str]:
    """That the rows and params which are there make another pair than the recorded one."""
    if expected == (pair["chosen_id"], pair["rejected_id"]):
        return []
    return [
        f"by the rows and params that are there, {expected[0]} would be chosen over {expected[1]}: the pair was made "
        "of others (dvc status says what is out of date)"
    ]


def rank(row: Row, found: PromptRows) -> int:
    """The place of a judgment by Elo, 1 the highest; equal Elos share one."""
    return 1 + len([other for other in found.rows["elo"] if other["elo"] > row["elo"] + TIE])


def _no_pair(found: PromptRows, role: str) -> list[str]:
    recorded = [row["reason"] for row in found.rows["no_pairs"] if row["role"] == role]
    if not recorded and not found.rows[f"{role}_pairs"]:
        return [f"no reason for that is there, either: has the stage {role}-pairs run?"]
    return [f"{reason}: {REASONS.get(reason, 'a reason that is not known here')}" for reason in recorded]


def _told(score: Row) -> str:
    return f"{score['response_id']} ({shown(score['mean'])}, {score['n_chars']} characters)"


def shown(value: Any) -> str:
    """A score or bound with up to three decimals: 4, 3.667; what rounds to nothing has no sign."""
    return f"{round(value, 3) + 0.0:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
