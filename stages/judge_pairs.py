"""Pair judgments by Elo, with the length filter; none where the judge is not trained."""

from collections.abc import Iterator

import polars as pl

from metareward.pipeline.frame import load, run, say
from metareward.pipeline.parts import scan_parts, write_pairs
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.roles.judge import judge_messages, judged_responses
from metareward.selection.judge_pairs import select_judge_pairs
from metareward.templates.texts import load_templates


def judge_pairs(iteration: str) -> None:
    params, folder = load(), iteration_folder(iteration)
    texts, max_chars = load_templates(params.templates), params.iterations[iteration].max_judgment_chars

    def pairs() -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        for part in scan_parts(folder, "unique_responses", "judgments", "choices", "elo"):
            responses = part.pop("responses").join(part["choices"], on="response_id", how="semi")
            judged = judged_responses(part["prompts"].collect(), responses.collect())
            yield select_judge_pairs(**part, judge_prompts=judge_messages(judged, texts), max_judgment_chars=max_chars)

    say(Stage("judge_pairs", iteration), write_pairs(pairs(), folder, "judge"))


if __name__ == "__main__":
    run(judge_pairs)
