"""The tables of a run small enough to be checked by eye: two iterations, four prompts, no model.

What is written here are texts, scores and verdicts; what follows from them the library makes, as the stages do.
Ids say what they are: prompt aa1, its response bb1.4, that one's judgment cc1.4.2, and the battle dd1.4.0.2 in which
judgment 0 of it stands before judgment 2.
"""

from pathlib import Path

import polars as pl
import yaml

from metareward.selection.actor_pairs import select_actor_pairs
from metareward.selection.battles import choose_responses, list_battles
from metareward.selection.elo import fit_elo
from metareward.selection.judge_pairs import select_judge_pairs
from metareward.selection.scores import mark_duplicates, score_statistics
from metareward.tables import MESSAGES, TABLES, empty_table, write_table

ROOT = Path(__file__).parents[1]
RHO = {"m1": 0.25, "m2": 0.0}
TRAINS_JUDGE = {"m1": True, "m2": False}
PROMPTS = {"m1": {"aa1": "Why is it dark?", "aa2": "Name a colour.", "aa3": "Say it twice."}, "m2": {"aa4": "Count."}}
# of each prompt the responses, and the scores of their three judgments; null: unreadable
RESPONSES: dict[str, list[tuple[str, list[float | None]]]] = {
    "aa1": [
        ("four", [4, 4, 4]),
        ("two", [3, 3, 3]),
        ("nought", [0, 0, None]),
        ("a longer one!", [1, 1, 1]),
        ("middle", [0, 2, 4]),
        ("two", []),  # a duplicate is not judged
        ("unreadable", [None, None, None]),
    ],
    "aa2": [("red", [3, 3, 3]), ("blue", [3, 3, 3])],
    "aa3": [("it it", [5, 5, 5]), ("it it", [])],
    "aa4": [("1 2 3", [5, 5, 5]), ("1 2 3 4 5", [1, 1, 1])],
}
CUT = "a longer one!"
# who wins a battle of response bb1.4: by first and second judgment; those of other responses nobody wins
WINNERS = {(0, 1): "a", (1, 0): None, (0, 2): "b", (2, 0): "a", (1, 2): "b", (2, 1): "a"}


def save_run(folder: Path) -> Path:
    """Write params.yaml, an empty dvc.yaml and data/iterations below the folder."""
    params = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text())
    for name, rho in RHO.items():
        params["iterations"][name] |= {"rho": rho, "train_judge": TRAINS_JUDGE[name]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dvc.yaml").write_text("stages: {}\n")  # by which a project is known
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for name in RHO:
        for file, (table, rows) in _tables(name).items():
            write_table(rows, folder / "data/iterations" / name / f"{file}.parquet", table)
    return folder


def _tables(iteration: str) -> dict[str, tuple[str, pl.DataFrame]]:
    prompts = _rows("prompts", [{"prompt_id": i, "prompt": p, "source": "hand"} for i, p in PROMPTS[iteration].items()])
    raw = _rows("responses", [_response(i, k) for i in PROMPTS[iteration] for k in range(len(RESPONSES[i]))])
    judgments = _rows("judgments", [_judgment(i, k, s) for i in PROMPTS[iteration] for k, s in _judged(i)])
    responses = mark_duplicates(raw)
    scores = score_statistics(responses, judgments)
    choices = choose_responses(prompts, scores, 1) if TRAINS_JUDGE[iteration] else empty_table("choices")
    battles = _rows("battles", [_battle(*row) for row in list_battles(choices, judgments).iter_rows()])
    elo = fit_elo(battles, 0.01)
    actor_pairs, no_actor = select_actor_pairs(prompts, responses, scores, RHO[iteration], None)
    asked = pl.DataFrame([{"prompt_id": i, "messages": []} for i in PROMPTS[iteration]])
    asked = asked.cast({"messages": MESSAGES})
    judge_pairs, no_judge = select_judge_pairs(prompts, choices, judgments, elo, asked, None)
    return {
        "prompts": ("prompts", prompts),
        "responses": ("responses", raw),
        "unique_responses": ("responses", responses),
        "judgments": ("judgments", judgments),
        "scores": ("scores", scores),
        "choices": ("choices", choices),
        "battles": ("battles", battles),
        "elo": ("elo", elo),
        "actor_pairs": ("actor_pairs", actor_pairs),
        "actor_no_pairs": ("no_pairs", no_actor),
        "judge_pairs": ("judge_pairs", judge_pairs),
        "judge_no_pairs": ("no_pairs", no_judge),
    }


def _rows(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows of a table of which only what matters is given; the rest is null, 1 or stop."""
    columns = TABLES[table].columns
    common = dict.fromkeys(columns) | {name: 1 for name in ("n_tokens",) if name in columns}
    common |= {name: "stop" for name in ("finish_reason",) if name in columns}
    return pl.DataFrame([common | row for row in rows], schema=dict(columns))


def _response(prompt_id: str, sample: int) -> dict[str, object]:
    text = RESPONSES[prompt_id][sample][0]
    ended = "length" if text == CUT else "stop"
    row = {"prompt_id": prompt_id, "response_id": f"bb{prompt_id[2:]}.{sample}", "sample": sample, "response": text}
    return row | {"n_chars": len(text), "finish_reason": ended}


def _judged(prompt_id: str) -> list[tuple[int, int]]:
    return [(k, sample) for k, (_, scores) in enumerate(RESPONSES[prompt_id]) for sample in range(len(scores))]


def _judgment(prompt_id: str, response: int, sample: int) -> dict[str, object]:
    """Judgment k of a response begins with k + 1 dots; those of prompt aa3 are all the same."""
    score, name = RESPONSES[prompt_id][response][1][sample], f"{prompt_id[2:]}.{response}"
    text = ("." if prompt_id == "aa3" else "." * (sample + 1)) + (f" Score: {score}" if score is not None else " None")
    return {
        "prompt_id": prompt_id,
        "response_id": f"bb{name}",
        "judgment_id": f"cc{name}.{sample}",
        "sample": sample,
        "judgment": text,
        "score": score,
        "expected": None,
        "invalid_reason": None if score is not None else "no_score",
        "n_chars": len(text),
    }


def _battle(prompt_id: str, response_id: str, judgment_a: str, judgment_b: str) -> dict[str, object]:
    sides = int(judgment_a.split(".")[2]), int(judgment_b.split(".")[2])
    winner = WINNERS[sides] if response_id == "bb1.4" else None
    return {
        "prompt_id": prompt_id,
        "response_id": response_id,
        "battle_id": f"dd{judgment_a[2:]}.{sides[1]}",
        "judgment_a": judgment_a,
        "judgment_b": judgment_b,
        "meta_judgment": f"Winner: {winner}",
        "winner": winner,
        "invalid_reason": None if winner else "no_winner",
    }
