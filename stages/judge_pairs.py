"""Pair judgments by Elo, with the length filter; none where the judge is not trained."""

from collections.abc import Iterator

import polars as pl

from metareward.generate import judge_messages, judged_responses
from metareward.select import select_judge_pairs

from common import iteration, load, run, scan_parts, templates, write_pairs


def judge_pairs(name: str) -> None:
    params = load()
    folder = iteration(name)
    texts, max_chars = templates(params), params.iterations[name].max_judgment_chars

    def pairs() -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        for part in scan_parts(folder, "unique_responses", "judgments", "choices", "elo"):
            responses = part.pop("responses").join(part["choices"], on="response_id", how="semi")
            judged = judged_responses(part["prompts"].collect(), responses.collect())
            yield select_judge_pairs(**part, judge_prompts=judge_messages(judged, texts), max_judgment_chars=max_chars)

    write_pairs(pairs(), folder, "judge")


if __name__ == "__main__":
    run(judge_pairs)
