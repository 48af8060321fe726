"""A whole made-up run of the paper's size, as `dvc repro` leaves one: to measure what reads the tables of a run.

    python speed/paper_run.py FOLDER               # four iterations of 5,000 prompts, 7 responses, 11 judgments
    python speed/paper_run.py FOLDER --scale 10    # of ten times as many prompts

What models write is made up (speed/tables.py); dedup, scores, pairs, Elo, summaries, metrics.json and plots come from
the project's own stages. There is no model, no git and no DVC in the folder.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from tables import PROMPT_CHARS, Draws, fight, judge, respond

from metareward.evaluation.measure import measure
from metareward.evaluation.outcomes import results_of
from metareward.evaluation.results import results_table
from metareward.evaluation.win_rate import comparison_outcomes
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.load_params import load_params
from metareward.params import Params
from metareward.roles.referee import pair_responses
from metareward.selection.parts import in_parts
from metareward.tables import TABLES, empty_table, read_table, scan_table, write_json, write_parts, write_table

ROOT = Path(__file__).parents[1]
PART = 1000  # prompts that are made at once
BATCH = 32  # pairs of a training step


def paper_run(folder: Path, scale: Annotated[int, typer.Option(help="times the paper's prompts", min=1)] = 1) -> None:
    """Make the run in a folder that is not there yet."""
    started = time.perf_counter()
    folder.mkdir(parents=True)
    draws = Draws(1)
    params = prepare(folder, draws, 5000 * scale)
    for iteration in params.iterations:
        make_iteration(folder, draws, iteration, params)
        print(f"{time.perf_counter() - started:5.0f} s: {iteration}", flush=True)
    evaluate(folder, draws, params)
    train(folder, draws, params)
    stage(folder, "monitor_training", "sft", "seed")
    for name, iteration in params.iterations.items():
        stage(folder, "monitor_data", name, iteration.prev)
        stage(folder, "monitor_training", name, iteration.prev)
    stage(folder, "questions")
    stage(folder, "categories")
    for checkpoint in params.checkpoints:
        write_table(empty_table("answers"), folder / "data/answers" / f"{checkpoint}.parquet", "answers")
        stage(folder, "grade", checkpoint)
    stage(folder, "summary", "sft")
    for name, iteration in params.iterations.items():
        stage(folder, "summary", name, iteration.prev)
    stage(folder, "metrics")
    size = sum(path.stat().st_size for path in folder.glob("data/**/*.parquet")) / 1e9
    print(f"{time.perf_counter() - started:5.0f} s: the run is in {folder}, {size:.1f} GB of tables")


def prepare(folder: Path, draws: Draws, n_prompts: int) -> Params:
    """The paper's params with n_prompts an iteration, its templates and samples, and a pool of made-up prompts.

    EFT examples are the project's own.
    """
    for name in ("templates", "accelerate", "data/samples"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "data/benchmarks").mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    text = (ROOT / "profiles/paper.yaml").read_text()
    n_iterations = 4
    for old, new in {
        "source: ranked ": "source: examples ",
        "file: inputs/ranked_replies.jsonl": "file: data/samples/eft.jsonl",
        "judged: inputs/held_out_replies.jsonl": "judged: data/samples/eval_judged.jsonl",
        "per_iteration: 5000": f"per_iteration: {n_prompts}",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)
    prompts = draws.texts(n_iterations * n_prompts, PROMPT_CHARS)
    (folder / "inputs").mkdir()
    lines = (json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    (folder / "inputs/prompts.jsonl").write_text("".join(lines))
    write_table(empty_table("judgments"), folder / "data/eft/judgments.parquet", "judgments")
    stage(folder, "eft")
    return load_params(folder / "params.yaml")


def stage(folder: Path, name: str, *arguments: str) -> None:
    command = [sys.executable, "-W", "ignore", str(ROOT / "stages" / f"{name}.py"), *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def make_iteration(folder: Path, draws: Draws, iteration: str, params: Params) -> None:
    """All tables of an iteration. Scores rise a little from one to the next, as the judge drifts."""
    here, mean = folder / "data/iterations" / iteration, 3.0 + 0.2 * list(params.iterations).index(iteration)
    stage(folder, "prompts", iteration)
    ids = read_table(here / "prompts.parquet", "prompts")["prompt_id"].to_list()
    responses = (respond(draws, ids[k : k + PART], params.respond.n) for k in range(0, len(ids), PART))
    write_parts(responses, here / "responses.parquet", "responses")
    stage(folder, "dedup", iteration)
    tables = {name: scan_table(here / f"{name}.parquet", name) for name in ("prompts",)}
    tables["responses"] = scan_table(here / "unique_responses.parquet", "responses")
    judged = (
        part["responses"].filter(pl.col("duplicate_of").is_null()).drop("response").collect()
        for part in in_parts(tables, PART)
    )
    write_parts((judge(draws, rows, params.judge.n, mean) for rows in judged), here / "judgments.parquet", "judgments")
    for name in ("score", "actor_pairs", "choose"):
        stage(folder, name, iteration)
    tables |= {name: scan_table(here / f"{name}.parquet", name) for name in ("judgments", "choices")}
    battles = (fight(draws, part["choices"], part["judgments"], 1000) for part in in_parts(tables, PART))
    write_parts(battles, here / "battles.parquet", "battles")
    for name in ("elo", "judge_pairs"):
        stage(folder, name, iteration)


def evaluate(folder: Path, draws: Draws, params: Params) -> None:
    """What each checkpoint wrote on the held-out sets, and what the referee said of it."""
    settings, rounds = params.evaluate, (params.evaluate.bootstrap, params.seed)
    for table in ("responses", "judgments"):
        write_table(empty_table(table), folder / "data/strong_judge" / f"{table}.parquet", table)
    prompts = read_prompts(folder / settings.prompts, "evaluate.prompts")
    judged = read_replies(folder / settings.judged, "evaluate.judged", settings.n_judged_prompts)
    first = judged.unique("prompt_id", keep="first", maintain_order=True)
    replies = judged.select("prompt_id", "response_id", n_chars=pl.col("response").str.len_chars().cast(pl.Int64))
    written: dict[str, pl.DataFrame] = {}
    for k, checkpoint in enumerate(params.checkpoints):
        here = folder / "data/evaluations" / checkpoint
        written[checkpoint] = responses = respond(draws, prompts["prompt_id"].to_list(), 1)
        judgments = judge(draws, replies, settings.n_judgments, 2.8 + 0.15 * k)
        verdicts = fight(draws, first, judgments, 1000)
        tables = {"responses": responses, "judgments": judgments, "verdicts": verdicts}
        tables["strong_judgments"] = empty_table("judgments")
        schemas = {"verdicts": "battles", "strong_judgments": "judgments"}
        for name, rows in tables.items():
            write_table(rows, here / f"{name}.parquet", schemas.get(name, name))
        none = empty_table("outcomes")
        for name, rows in measure(checkpoint, judged, responses, judgments, verdicts, none, *rounds).items():
            write_table(rows, here / f"{name}.parquet", name)
        here = folder / "data/comparisons" / checkpoint
        comparisons = empty_table("comparisons")
        if checkpoint != "seed":
            compared = pair_responses(prompts, responses, written["seed"])
            comparisons = compare(draws, compared, 0.45 + 0.05 * k)
        outcomes = comparison_outcomes(checkpoint, comparisons, settings.referee)
        write_table(comparisons, here / "comparisons.parquet", "comparisons")
        write_table(outcomes, here / "outcomes.parquet", "outcomes")
        write_table(results_table(checkpoint, results_of(outcomes, *rounds)), here / "results.parquet", "results")


def compare(draws: Draws, compared: pl.DataFrame, win_rate: float) -> pl.DataFrame:
    """The referee's verdicts on both orders of each prompt's two responses."""
    rows = compared.select("prompt_id").join(pl.DataFrame({"model_first": [True, False]}), how="cross")
    won = np.where(draws.generator.random(rows.height) < win_rate, "model", "baseline")
    return rows.with_columns(
        comparison=pl.Series(draws.texts(rows.height, 1000)),
        winner=pl.when(pl.Series(draws.generator.random(rows.height) < 0.97)).then(pl.Series(won)),
        n_tokens=pl.lit(200, pl.Int64),
        finish_reason=pl.lit("stop"),
        thought=pl.lit(None, pl.String),
    ).select(
        *(pl.col(name) for name in TABLES["comparisons"].columns if name != "invalid_reason"),
        invalid_reason=pl.when(pl.col("winner").is_null()).then(pl.lit("no_winner")),
    )


def train(folder: Path, draws: Draws, params: Params) -> None:
    """Steps and counts of each training: one epoch of SFT, ten of DPO, with the curves that such trainings have."""
    here = folder / "data/training"
    write_training(here, "sft", draws, {"rows_in": 1630, "rows_trained": 1630, "too_long": 0}, 102, 1)
    for iteration in params.iterations:
        tables = {role: folder / "data/iterations" / iteration / f"{role}_pairs.parquet" for role in ("actor", "judge")}
        pairs = {
            f"{role}_pairs": pl.scan_parquet(path).select(pl.len()).collect().item() for role, path in tables.items()
        }
        n = sum(pairs.values())
        held_out = round(n * params.dpo.held_out)
        counts = {"rows_in": n, "rows_held_out": held_out, "rows_trained": n - held_out, "too_long": 0, **pairs}
        write_training(here, iteration, draws, counts, (n - held_out) * 10 // BATCH, 10)


def write_training(here: Path, checkpoint: str, draws: Draws, counts: dict[str, int], steps: int, epochs: int) -> None:
    way = np.arange(1, steps + 1) / steps
    noise = draws.generator.normal(0, 1, (3, steps))
    preference = checkpoint != "sft"
    first, last = (np.log(2), 0.45) if preference else (1.6, 0.9)
    loss = last + (first - last) * np.exp(-5 * way) + 0.03 * noise[0]
    nothing = pl.Series([None] * steps, dtype=pl.Float64)
    rows = pl.DataFrame(
        {
            "step": np.arange(1, steps + 1),
            "epoch": way * epochs,
            "loss": loss,
            "learning_rate": 5e-6 * (1 + np.cos(np.pi * way)) / 2,
            "grad_norm": 2 + 0.2 * noise[1],
            "reward_accuracy": np.clip(0.5 + 0.25 * (1 - np.exp(-5 * way)) + 0.05 * noise[2], 0, 1)
            if preference
            else nothing,
            "reward_margin": 0.8 * (1 - np.exp(-4 * way)) + 0.05 * noise[1] if preference else nothing,
        }
    )
    write_table(rows, here / f"{checkpoint}.parquet", "training_steps")
    values = {"steps": steps, "loss_first": loss[0], "loss_last": loss[-1], "loss_mean": loss.mean()}
    if preference:
        values |= {name: rows[name][-1] for name in ("reward_accuracy", "reward_margin")}
    write_json(counts | values, here / f"{checkpoint}.json")


if __name__ == "__main__":
    typer.run(paper_run)
