"""Choose the response of each prompt whose scores vary most; nothing where the judge is not trained."""

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.selection.battles import choose_responses
from metareward.tables import empty_table, read_table, tally, write_table


def choose(iteration: str) -> None:
    params, folder = load(), iteration_folder(iteration)
    choices = empty_table("choices")
    if params.iterations[iteration].train_judge:
        prompts = read_table(folder / "prompts.parquet", "prompts")
        scores = read_table(folder / "scores.parquet", "scores")
        choices = choose_responses(prompts, scores, params.seed)
    choices = write_table(choices, folder / "choices.parquet", "choices")
    chosen, reasons = choices["response_id"].drop_nulls().len(), tally(choices["reason"])
    say(Stage("choose", iteration), f"{chosen} responses chosen; prompts without: {reasons}")


if __name__ == "__main__":
    run(choose)
