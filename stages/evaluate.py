"""Evaluate a checkpoint on the held-out sets; the referee compares its responses with the seed's."""

from pathlib import Path

from metareward.evaluate import comparison_requests, comparisons_table, held_out_results
from metareward.generate import (
    battle_requests,
    battles_table,
    judgment_requests,
    judgments_table,
    response_requests,
    responses_table,
)
from metareward.inputs import read_prompts, read_replies
from metareward.select import list_battles
from metareward.tables import empty_table, read_table, write_table

from common import MODELS, evaluation, load, run, sample, say, stage_seed, templates


def evaluate(checkpoint: str) -> None:
    params = load()
    settings, texts, seed = params.evaluate, templates(params), stage_seed(params)
    folder = evaluation(checkpoint)
    model = MODELS / checkpoint

    prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts").head(settings.n_prompts)
    answer = params.respond.model_copy(
        update={"n": 1, "temperature": settings.temperature, "max_tokens": settings.max_tokens}
    )
    responses = responses_table(sample(params, model, response_requests(prompts, answer, seed), prompts.height))
    write_table(responses, folder / "responses.parquet", "responses")

    replies = read_replies(Path(settings.judged), "params.yaml: evaluate.judged")
    judged = replies.rename({"reply_id": "response_id", "reply": "response"})
    judge = params.judge.model_copy(update={"n": settings.n_judgments})
    requests = judgment_requests(judged, texts, judge, seed)
    judgments = judgments_table(judged, sample(params, model, requests, judged.height * judge.n))
    write_table(judgments, folder / "judgments.parquet", "judgments")

    listed = list_battles(judged.unique("prompt_id", keep="first", maintain_order=True), judgments)
    requests = battle_requests(listed, judged.unique("prompt_id"), judged, judgments, texts, params.meta_judge, seed)
    verdicts = battles_table(listed, sample(params, model, requests, listed.height))
    write_table(verdicts, folder / "verdicts.parquet", "battles")

    comparisons = empty_table("comparisons")
    if checkpoint != "seed":
        baseline = read_table(evaluation("seed") / "responses.parquet", "responses")
        compared = prompts.join(responses.select("prompt_id", model="response"), on="prompt_id")
        compared = compared.join(baseline.select("prompt_id", baseline="response"), on="prompt_id").drop_nulls()
        requests = comparison_requests(compared, texts, params.meta_judge, seed)
        referee = MODELS / settings.referee
        comparisons = comparisons_table(compared, sample(params, referee, requests, compared.height * 2))
    write_table(comparisons, folder / "comparisons.parquet", "comparisons")

    results = held_out_results(
        checkpoint,
        responses,
        replies,
        judgments,
        verdicts,
        comparisons,
        settings.referee,
        settings.bootstrap,
        params.seed,
    )
    write_table(results, folder / "results.parquet", "results")
    say(f"{responses.height} responses, {judgments.height} judgments, {comparisons.height} comparisons")


if __name__ == "__main__":
    run(evaluate)
