"""Evaluate a checkpoint on the held-out sets; the referee compares its responses with the seed's."""

from functools import partial
from pathlib import Path

from metareward import evaluate, generate
from metareward.inputs import read_prompts, read_replies
from metareward.select import list_battles
from metareward.tables import empty_table, read_table, write_table

from common import MODELS, evaluation, load, run, sample, say, stage_seed, templates


def main(checkpoint: str) -> None:
    params, folder = load(), evaluation(checkpoint)
    settings, texts, seed, model = params.evaluate, templates(params), stage_seed(params), MODELS / checkpoint

    prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts").slice(0, settings.n_prompts)
    changes = {"n": 1, "temperature": settings.temperature, "max_tokens": settings.max_tokens}
    requests = partial(generate.response_requests, prompts, params.respond.model_copy(update=changes), seed)
    responses = generate.responses_table(sample(params, model, requests))
    write_table(responses, folder / "responses.parquet", "responses")

    judged = read_replies(Path(settings.judged), "params.yaml: evaluate.judged", settings.n_judged_prompts)
    judge = params.judge.model_copy(update={"n": settings.n_judgments})
    requests = partial(generate.judgment_requests, judged, texts, judge, seed)
    judgments = generate.judgments_table(judged, sample(params, model, requests))
    write_table(judgments, folder / "judgments.parquet", "judgments")

    first = judged.unique("prompt_id", keep="first", maintain_order=True)
    listed = list_battles(first, judgments)
    requests = partial(generate.battle_requests, listed, first, judged, judgments, texts, params.meta_judge, seed)
    verdicts = generate.battles_table(listed, sample(params, model, requests))
    write_table(verdicts, folder / "verdicts.parquet", "battles")

    comparisons = empty_table("comparisons")
    if checkpoint != "seed":
        baseline = read_table(evaluation("seed") / "responses.parquet", "responses")
        compared = evaluate.pair_responses(prompts, responses, baseline)
        requests = partial(evaluate.comparison_requests, compared, texts, params.meta_judge, seed)
        referee = sample(params, MODELS / settings.referee, requests)
        comparisons = evaluate.comparisons_table(compared, referee)
    write_table(comparisons, folder / "comparisons.parquet", "comparisons")

    tables = {"judged": judged, "judgments": judgments, "verdicts": verdicts, "comparisons": comparisons}
    results = evaluate.held_out_results(
        checkpoint, {**tables, "responses": responses}, settings.referee, settings.bootstrap, params.seed
    )
    write_table(results, folder / "results.parquet", "results")
    say(f"{responses.height} responses, {judgments.height} judgments, {comparisons.height} comparisons")


if __name__ == "__main__":
    run(main)
