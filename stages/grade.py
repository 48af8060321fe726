"""Let the judges of the public benchmarks grade a checkpoint's answers, and score the grades."""

from pathlib import Path
from typing import Any

import polars as pl

from metareward.engines.judges import load_judge
from metareward.evaluation.alpaca_eval import preference_of
from metareward.evaluation.arena_hard import read_label
from metareward.evaluation.benchmarks import benchmark_results
from metareward.evaluation.mt_bench import read_rating
from metareward.inputs.length_control import read_length_control
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import CATEGORIES, QUESTIONS, Stage, answers_file, grades_folder
from metareward.roles.alpaca_eval import grade_alpaca_eval
from metareward.roles.arena_hard import grade_arena_hard
from metareward.roles.grades import answered_questions
from metareward.roles.mt_bench import grade_mt_bench
from metareward.tables import empty_table, read_table, tally, write_table
from metareward.templates.chats import ALPACA_EVAL, ARENA_HARD, MT_BENCH, load_chats

# of each benchmark: who makes its grades, the chats of its template, and what reads a grade
GRADERS: dict[str, tuple[Any, Any, Any]] = {
    "alpaca_eval": (grade_alpaca_eval, ALPACA_EVAL, preference_of),
    "arena_hard": (grade_arena_hard, ARENA_HARD, read_label),
    "mt_bench": (grade_mt_bench, MT_BENCH, read_rating),
}


def grade(checkpoint: str) -> None:
    params, stage, folder = load(), Stage("grade", checkpoint), grades_folder(checkpoint)
    questions, answers = read_table(QUESTIONS, "questions"), read_table(answers_file(checkpoint), "answers")
    categories, seed = read_table(CATEGORIES, "categories"), stage.seed(params.seed)
    rounds, length_control = params.evaluate.bootstrap, read_length_control(params.benchmarks)
    all_grades, results = empty_table("grades"), empty_table("results")
    for name, (grade_with, fields, read) in GRADERS.items():
        answered, settings = answered_questions(questions, answers, name), getattr(params.benchmarks, name)
        if answered.is_empty():
            continue
        chats = load_chats(Path(settings.template), fields, f"params.yaml: benchmarks.{name}.template")
        ask = load_judge(settings.judge, params, stage.work, stage.label, f"benchmarks.{name}.judge")
        grades = grade_with(answered, chats, settings, ask, seed, read)
        mine, random = answers.filter(benchmark=name), (rounds, params.seed)
        scored = benchmark_results(checkpoint, answered, mine, grades, length_control, categories, *random)
        all_grades, results = pl.concat([all_grades, grades]), pl.concat([results, scored.select(results.columns)])
    all_grades = write_table(all_grades, folder / "grades.parquet", "grades")
    write_table(results, folder / "results.parquet", "results")
    graded, invalid = tally(all_grades["benchmark"]), tally(all_grades["invalid_reason"])
    say(stage, f"{all_grades.height} grades: {graded}; without a label or rating: {invalid}")


if __name__ == "__main__":
    run(grade)
