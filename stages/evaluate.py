"""Let a checkpoint answer the held-out prompts, judge ranked replies and compare its own judgments of them."""

from functools import partial
from pathlib import Path

from metareward.engines.common.sampler import Sampler
from metareward.evaluation.held_out import held_out_results
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, evaluation_folder
from metareward.roles.actor import response_requests, responses_table
from metareward.roles.judge import judgment_requests, judgments_table
from metareward.roles.meta_judge import battle_requests, battles_table
from metareward.selection.battles import list_battles
from metareward.tables import write_table
from metareward.templates.texts import load_templates


def evaluate(checkpoint: str) -> None:
    params, stage, folder = load(), Stage("evaluate", checkpoint), evaluation_folder(checkpoint)
    settings, texts, seed = params.evaluate, load_templates(params.templates), stage.seed(params.seed)
    sample = Sampler(params, MODELS / checkpoint, stage.work, stage.label)

    prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts").slice(0, settings.n_prompts)
    changes = {"n": 1, "temperature": settings.temperature, "max_tokens": settings.max_tokens}
    requests = partial(response_requests, prompts, params.respond.model_copy(update=changes), seed)
    responses = write_table(responses_table(sample(requests)), folder / "responses.parquet", "responses")

    judged = read_replies(Path(settings.judged), "params.yaml: evaluate.judged", settings.n_judged_prompts)
    judge = params.judge.model_copy(update={"n": settings.n_judgments})
    requests = partial(judgment_requests, judged, texts, judge, seed)
    judgments = judgments_table(judged, sample(requests), judge.format)
    write_table(judgments, folder / "judgments.parquet", "judgments")

    first = judged.unique("prompt_id", keep="first", maintain_order=True)
    listed = list_battles(first, judgments)
    requests = partial(battle_requests, listed, first, judged, judgments, texts, params.meta_judge, seed)
    verdicts = write_table(
        battles_table(listed, sample(requests), params.meta_judge.format), folder / "verdicts.parquet", "battles"
    )

    results = held_out_results(checkpoint, judged, responses, judgments, verdicts)
    write_table(results, folder / "results.parquet", "results")
    say(stage, f"{responses.height} responses, {judgments.height} judgments, {verdicts.height} verdicts")


if __name__ == "__main__":
    run(evaluate)
