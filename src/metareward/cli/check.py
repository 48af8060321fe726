"""`metareward check`: is everything in order, before anything runs?"""

from pathlib import Path

from metareward.errors import UserError

PARAMS = Path("params.yaml")


def check() -> None:
    """Read params.yaml and every file that it names, and say what is wrong before anything runs."""
    from metareward.engines.common.load import demand_libraries
    from metareward.engines.judges import check_judge
    from metareward.inputs.check import check_inputs, judges_of
    from metareward.inputs.formats import describe_formats
    from metareward.inputs.questions import describe_benchmarks
    from metareward.inputs.seed_model import check_seed_model, unpinned
    from metareward.load_params import load_params
    from metareward.pipeline.clones import check_present, only_here
    from metareward.pipeline.dvc_locks import LIST, mend_lock_list
    from metareward.pipeline.fit import check_fit, seed_shape
    from metareward.pipeline.machine import other_engines
    from metareward.templates.texts import load_templates
    from metareward.training.optimizer import demand_optimizer

    if not (Path(".dvc").is_dir() and Path(".git").exists()):
        raise UserError("this folder is no git clone with DVC. Hint: git clone the project, or: git init && dvc init")
    if mend_lock_list():
        print(f"{LIST} was torn when DVC was killed, and is removed")
    params = load_params(PARAMS)
    check_present(params)
    check_inputs(params)
    for line in describe_formats(params, load_templates(params.templates)):
        print(line)
    check_seed_model(params.seed_model, params.chat_template_kwargs, params.seed_revision)
    if warning := unpinned(params.seed_model, params.seed_revision):
        print(warning)
    demand_libraries(params.engine, params.resources)
    demand_optimizer(params.train)
    for where, judge in judges_of(params).items():
        check_judge(judge, params.resources, where)
    print(f"params.yaml and its files are in order: checkpoints {', '.join(params.checkpoints)}")
    if params.resources.gpu_memory:
        shape, where = seed_shape(params)
        if shape:
            check_fit(params, shape)
        else:
            print(f"whether it fits a GPU is not known: {where} (params.yaml: resources.gpu_memory)")
    for line in describe_benchmarks(params.benchmarks):
        print(line)
    if params.reward_model is not None:
        print(f"responses are scored by the reward model {params.reward_model.model} (params.yaml: reward_model)")
    strong = params.evaluate.strong_judge
    on = f"{strong.judge.model} ({strong.judge.engine}), {strong.n_responses} responses to each of {strong.n_prompts}"
    print(f"strong judge: {f'{on} prompts' if strong.n_prompts else 'off'} (params.yaml: evaluate.strong_judge)")
    print(other_engines(params.engine.name))
    for line in only_here(params):
        print(f"not in another clone or a queued experiment: {line}")
