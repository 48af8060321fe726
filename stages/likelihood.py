"""How likely a checkpoint finds the ranked replies: those that people prefer should be the likelier ones.

Off (evaluate.likelihood), its tables are empty.
"""

from pathlib import Path

from metareward.evaluation.held_out import likelihood_outcomes
from metareward.evaluation.outcomes import results_of
from metareward.evaluation.results import results_table
from metareward.inputs.replies import read_replies
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, likelihood_folder
from metareward.tables import empty_table, write_table


def likelihood(checkpoint: str) -> None:
    params, stage, folder = load(), Stage("likelihood", checkpoint), likelihood_folder(checkpoint)
    settings, found = params.evaluate, empty_table("reply_likelihoods")
    judged = read_replies(Path(settings.judged), "params.yaml: evaluate.judged", settings.n_judged_prompts)
    if settings.likelihood:
        from metareward.training.likelihood import reply_likelihoods

        found = reply_likelihoods(MODELS / checkpoint, judged, params.chat_template_kwargs)
    outcomes = likelihood_outcomes(checkpoint, judged, found)
    results = results_table(checkpoint, results_of(outcomes, settings.bootstrap, params.seed))
    write_table(found, folder / "reply_likelihoods.parquet", "reply_likelihoods")
    write_table(outcomes, folder / "outcomes.parquet", "outcomes")
    write_table(results, folder / "results.parquet", "results")
    say(stage, f"{found.height} of {judged.height} replies")


if __name__ == "__main__":
    run(likelihood)
