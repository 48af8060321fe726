"""Let AlpacaEval's judge sort the instructions into categories, once for all checkpoints."""

from functools import partial
from pathlib import Path

from metareward.engines.judges import load_judge
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import CATEGORIES as FILE
from metareward.pipeline.stage import QUESTIONS, Stage
from metareward.roles.categories import categories_table, category_requests
from metareward.tables import empty_table, read_table, tally, write_table
from metareward.templates.chats import CATEGORIES, load_chats, read_categories


def categories() -> None:
    params, stage = load(), Stage("categories")
    settings = params.benchmarks.alpaca_eval
    path, key = Path(settings.categories), "params.yaml: benchmarks.alpaca_eval.categories"
    questions = read_table(QUESTIONS, "questions").filter(benchmark="alpaca_eval")
    table = empty_table("categories")
    if settings.by_category and questions.height:
        chat = load_chats(path, CATEGORIES, key)[""]
        names = read_categories(chat, path, key)
        ask = load_judge(settings.judge, params, stage.work, stage.label, "benchmarks.alpaca_eval.judge")
        completions = ask(partial(category_requests, questions, chat, stage.seed(params.seed)))
        table = categories_table(questions, completions, names, settings.judge.model)
    table = write_table(table, FILE, "categories")
    say(stage, f"{table.height} instructions in categories; without: {tally(table['invalid_reason'])}")


if __name__ == "__main__":
    run(categories)
