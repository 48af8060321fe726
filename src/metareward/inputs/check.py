"""Every file that params name, read before anything runs."""

from pathlib import Path

from metareward.errors import UserError
from metareward.inputs.examples import formats_of, read_eft
from metareward.inputs.formats import check_formats
from metareward.inputs.launch_file import check_launch
from metareward.inputs.length_control import read_length_control
from metareward.inputs.pool import check_size, read_prompts
from metareward.inputs.questions import benchmarks_on, read_questions
from metareward.inputs.replies import read_replies
from metareward.inputs.reward_model import check_reward_model
from metareward.params import BenchmarkJudge, Benchmarks, Eft, Params
from metareward.templates.chats import CATEGORIES, FIELDS, load_chats, read_categories
from metareward.templates.texts import load_new_prompt_template, load_templates


def check_inputs(params: Params) -> None:
    """Read every file that params name, so that a mistake in one stops a run before any model loads."""
    templates = load_templates(params.templates)
    _check_pool(params)
    check_formats(params)
    check_launch(params)
    read_eft(params.eft, templates, formats_of(params))
    if params.eft.seed_judges:
        read_replies(Path(params.eft.file), "params.yaml: eft.file")
    _check_unused(params.eft)
    read_prompts(Path(params.evaluate.prompts), "params.yaml: evaluate.prompts")
    read_replies(Path(params.evaluate.judged), "params.yaml: evaluate.judged")
    _check_benchmarks(params.benchmarks)
    _check_judges(params)
    if params.reward_model is not None:
        check_reward_model(params.reward_model)


def _check_pool(params: Params) -> None:
    """Read the pool; one that a stage is to write may not be there yet, so what that stage reads is read."""
    prompts, generate, n = params.prompts, params.prompts.generate, len(params.iterations)
    load_new_prompt_template(generate.template)
    if not prompts.generated:
        check_size(read_prompts(Path(prompts.file), "params.yaml: prompts.file"), prompts, n)
        return
    seeds = read_prompts(Path(generate.seeds), "params.yaml: prompts.generate.seeds")
    if seeds.height < generate.shots:
        raise UserError(
            f"shots is {generate.shots}, and {generate.seeds} has {seeds.height} different prompts. "
            "(params.yaml: prompts.generate.shots)"
        )
    if generate.n < prompts.per_iteration * n:
        raise UserError(
            f"n is {generate.n}; {n} iterations of {prompts.per_iteration} need {prompts.per_iteration * n}. "
            "(params.yaml: prompts.generate.n)"
        )


def _check_benchmarks(benchmarks: Benchmarks) -> None:
    """Read the files of the benchmarks that are on, and the templates of all three."""
    read_questions(benchmarks)
    if "alpaca_eval" in benchmarks_on(benchmarks):
        read_length_control(benchmarks)
    for name, fields in FIELDS.items():
        template = Path(getattr(benchmarks, name).template)
        load_chats(template, fields, f"params.yaml: benchmarks.{name}.template")
    path, key = Path(benchmarks.alpaca_eval.categories), "params.yaml: benchmarks.alpaca_eval.categories"
    read_categories(load_chats(path, CATEGORIES, key)[""], path, key)


def judges_of(params: Params) -> dict[str, BenchmarkJudge]:
    """The judges that a run will ask, by their places in params."""
    judges = {f"benchmarks.{name}": getattr(params.benchmarks, name).judge for name in benchmarks_on(params.benchmarks)}
    if params.evaluate.strong_judge.n_prompts:
        judges["evaluate.strong_judge"] = params.evaluate.strong_judge.judge
    return {f"{section}.judge": judge for section, judge in judges.items()}


def _check_judges(params: Params) -> None:
    """Raise UserError for a judge that is a checkpoint of this run: it might be read before it is made."""
    for where, judge in judges_of(params).items():
        if judge.engine != "openai" and Path(judge.model).resolve().is_relative_to(Path("models").resolve()):
            raise UserError(
                f"model is {judge.model}, which this run makes, and no stage waits for it. Hint: copy it out of "
                f"models/. (params.yaml: {where}.model)"
            )


def _check_unused(eft: Eft) -> None:
    """Raise UserError when a file of examples is missing that no kind of eft.kinds needs: DVC asks for it all the same.

    dvc.yaml cannot leave out a file, so `dvc repro` would end in errno 2 before any stage runs.
    """
    for name in sorted(eft.unused):
        path = Path(eft.files[name])
        if not path.exists():
            raise UserError(
                f"{path} is not there. eft.kinds does not use it, but DVC tracks it. Hint: an empty file will do. "
                f"(params.yaml: eft.{name})"
            )
