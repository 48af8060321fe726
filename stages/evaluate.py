"""Let a checkpoint answer the held-out prompts, judge ranked replies and compare its own judgments of them.

It also judges the responses that a strong judge has judged, where there is one, else none.
"""

from functools import partial
from pathlib import Path

from metareward.engines.common.sampler import Sampler
from metareward.evaluation.drift import why_no_density
from metareward.evaluation.measure import measure
from metareward.evaluation.strong_judge import strong_judge_outcomes
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, STRONG_JUDGE, Stage, evaluation_folder
from metareward.roles.actor import response_requests, responses_table
from metareward.roles.judge import judged_responses, judgment_requests, judgments_table
from metareward.roles.meta_judge import battle_requests, battles_table
from metareward.selection.battles import list_battles
from metareward.tables import read_table, write_table
from metareward.templates.texts import load_templates


def evaluate(checkpoint: str) -> None:
    params, stage, folder = load(), Stage("evaluate", checkpoint), evaluation_folder(checkpoint)
    settings, texts, seed = params.evaluate, load_templates(params.templates), stage.seed(params.seed)
    sample = Sampler(params, MODELS / checkpoint, stage.work, stage.label)

    pool = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts")
    prompts = pool.slice(0, settings.n_prompts)
    changes = {"n": 1, "temperature": settings.temperature, "max_tokens": settings.max_tokens}
    requests = partial(response_requests, prompts, params.respond.model_copy(update=changes), seed)
    responses = write_table(responses_table(sample(requests)), folder / "responses.parquet", "responses")

    judged = read_replies(Path(settings.judged), "params.yaml: evaluate.judged", settings.n_judged_prompts)
    judge = params.judge.model_copy(update={"n": settings.n_judgments})
    requests = partial(judgment_requests, judged, texts, judge, seed, judge.read)
    judgments = judgments_table(judged, sample(requests), judge.format, judge.read)
    write_table(judgments, folder / "judgments.parquet", "judgments")

    first = judged.unique("prompt_id", keep="first", maintain_order=True)
    listed = list_battles(first, judgments)
    requests = partial(battle_requests, listed, first, judged, judgments, texts, params.meta_judge, seed)
    verdicts = write_table(
        battles_table(listed, sample(requests), params.meta_judge.format), folder / "verdicts.parquet", "battles"
    )

    strong, name = settings.strong_judge, settings.strong_judge.judge.model
    theirs = read_table(STRONG_JUDGE / "responses.parquet", "responses")
    given = read_table(STRONG_JUDGE / "judgments.parquet", "judgments")
    asked, judge = judged_responses(pool, theirs), judge.model_copy(update={"n": strong.n_judgments})
    requests = partial(judgment_requests, asked, texts, judge, seed, judge.read)
    own = judgments_table(asked, sample(requests), judge.format, judge.read)
    write_table(own, folder / "strong_judgments.parquet", "judgments")

    others = strong_judge_outcomes(checkpoint, pool, theirs, given, own, name)
    rounds = settings.bootstrap
    measured = measure(checkpoint, judged, responses, judgments, verdicts, others, rounds, params.seed)
    for table, rows in measured.items():
        write_table(rows, folder / f"{table}.parquet", table)
    no_density = f"; no density of scores: {reason}" if (reason := why_no_density(judgments)) else ""
    n_judgments = judgments.height + own.height
    say(stage, f"{responses.height} responses, {n_judgments} judgments, {verdicts.height} verdicts{no_density}")


if __name__ == "__main__":
    run(evaluate)
