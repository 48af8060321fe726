"""Let a checkpoint answer the held-out prompts, judge ranked replies and compare its own judgments of them."""

from functools import partial
from pathlib import Path

from metareward import generate
from metareward.evaluate import held_out_results
from metareward.inputs import read_prompts, read_replies
from metareward.select import list_battles
from metareward.tables import write_table

from common import MODELS, evaluation, load, run, sampler, say, stage_seed, templates


def evaluate(checkpoint: str) -> None:
    params, folder = load(), evaluation(checkpoint)
    settings, texts, seed = params.evaluate, templates(params), stage_seed(params)
    sample = sampler(params, MODELS / checkpoint)

    prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts").slice(0, settings.n_prompts)
    changes = {"n": 1, "temperature": settings.temperature, "max_tokens": settings.max_tokens}
    requests = partial(generate.response_requests, prompts, params.respond.model_copy(update=changes), seed)
    responses = write_table(generate.responses_table(sample(requests)), folder / "responses.parquet", "responses")

    judged = read_replies(Path(settings.judged), "params.yaml: evaluate.judged", settings.n_judged_prompts)
    judge = params.judge.model_copy(update={"n": settings.n_judgments})
    requests = partial(generate.judgment_requests, judged, texts, judge, seed)
    judgments = generate.judgments_table(judged, sample(requests))
    write_table(judgments, folder / "judgments.parquet", "judgments")

    first = judged.unique("prompt_id", keep="first", maintain_order=True)
    listed = list_battles(first, judgments)
    requests = partial(generate.battle_requests, listed, first, judged, judgments, texts, params.meta_judge, seed)
    verdicts = write_table(generate.battles_table(listed, sample(requests)), folder / "verdicts.parquet", "battles")

    results = held_out_results(checkpoint, judged, responses, judgments, verdicts)
    write_table(results, folder / "results.parquet", "results")
    say(f"{responses.height} responses, {judgments.height} judgments, {verdicts.height} verdicts")


if __name__ == "__main__":
    run(evaluate)
