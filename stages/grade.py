"""Let the judges of the public benchmarks grade a checkpoint's answers, and score the grades."""

from pathlib import Path
from typing import Any

import polars as pl

from metareward.engines.common.sampler import Sampler
from metareward.engines.judges import load_judge
from metareward.evaluation.alpaca_eval import preference_of
from metareward.evaluation.arena_hard import read_label
from metareward.evaluation.benchmarks import benchmark_outcomes, benchmark_results
from metareward.evaluation.mt_bench import read_rating
from metareward.inputs.length_control import read_length_control
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import CATEGORIES, QUESTIONS, Stage, answers_file, grades_folder
from metareward.roles.alpaca_eval import grade_alpaca_eval
from metareward.roles.arena_hard import grade_arena_hard
from metareward.roles.grades import answered_questions
from metareward.roles.mt_bench import grade_mt_bench
from metareward.tables import empty_table, read_table, tally, write_table
from metareward.templates.chats import FIELDS, load_chats

# of each benchmark: what makes its grades, and what reads one
GRADERS: dict[str, tuple[Any, Any]] = {
    "alpaca_eval": (grade_alpaca_eval, preference_of),
    "arena_hard": (grade_arena_hard, read_label),
    "mt_bench": (grade_mt_bench, read_rating),
}


def grade(checkpoint: str) -> None:
    params, stage, folder = load(), Stage("grade", checkpoint), grades_folder(checkpoint)
    questions, answers = read_table(QUESTIONS, "questions"), read_table(answers_file(checkpoint), "answers")
    categories, seed = read_table(CATEGORIES, "categories"), stage.seed(params.seed)
    rounds, length_control = params.evaluate.bootstrap, read_length_control(params.benchmarks)
    judges: dict[str, Sampler] = {}
    tables = {name: [empty_table(name)] for name in ("grades", "results", "outcomes")}
    for name, (grade_with, read) in GRADERS.items():
        answered, settings = answered_questions(questions, answers, name), getattr(params.benchmarks, name)
        if answered.is_empty():
            continue
        chats = load_chats(Path(settings.template), FIELDS[name], f"params.yaml: benchmarks.{name}.template")
        model = settings.judge.model_dump_json(exclude={"logprobs"})
        if model not in judges:  # one at a time is loaded; of the same one all benchmarks ask
            judges = {model: load_judge(settings.judge, params, stage.work, stage.label, f"benchmarks.{name}.judge")}
        grades = grade_with(answered, chats, settings, judges[model], seed, read)
        mine, random = answers.filter(benchmark=name), (rounds, params.seed)
        tables["grades"].append(grades)
        results = benchmark_results(checkpoint, answered, mine, grades, length_control, categories, *random)
        tables["results"].append(results.select(tables["results"][0].columns))
        tables["outcomes"].append(benchmark_outcomes(checkpoint, grades))
    written = {name: write_table(pl.concat(parts), folder / f"{name}.parquet", name) for name, parts in tables.items()}
    graded, invalid = (tally(written["grades"][column]) for column in ("benchmark", "invalid_reason"))
    say(stage, f"{written['grades'].height} grades: {graded}; without a label or rating: {invalid}")


if __name__ == "__main__":
    run(grade)
