"""Seconds, tokens per second and peak memory of an SFT and a DPO step, on a model of random weights and a known shape.

    python speed/training.py model 1b FOLDER     # a Llama of random weights, of 135m, 1b, 3b or 8b parameters
    python speed/training.py steps FOLDER        # SFT and DPO by the pipeline's own functions
    python speed/training.py steps FOLDER --launch accelerate/fsdp2.yaml   # by as many processes as there are GPUs

Run from the root of a clone. What a step costs does not depend on what the weights are.
"""

import itertools
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

os.environ["TQDM_DISABLE"] = "1"

import polars as pl
import torch
import typer

from metareward.load_params import load_params
from metareward.params import Lora, Train
from metareward.tables import empty_table
from metareward.training import loop
from metareward.training.dpo import train_dpo
from metareward.training.launch import launched
from metareward.training.processes import this_process
from metareward.training.sft import train_sft

SHAPES = {  # hidden size, feed-forward size, layers, heads, key heads, vocabulary, tied: SmolLM2's, Llama 3.x's
    "135m": (576, 1536, 30, 9, 3, 49152, True),
    "1b": (2048, 8192, 16, 32, 8, 128256, True),
    "3b": (3072, 8192, 28, 24, 8, 128256, True),
    "8b": (4096, 14336, 32, 32, 8, 128256, False),
}
WARM_UP = 2  # steps that are not counted
app = typer.Typer(add_completion=False)


@app.command()
def model(
    shape: str, folder: Path, tokenizer: Annotated[str, typer.Option(help="embedded, or a folder")] = "embedded"
) -> None:
    """Write a Llama of random weights in bfloat16, with the tokenizer of the embedded model or of a folder."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from metareward.inputs.seed_model import save_seed_model

    hidden, forward, layers, heads, key_heads, vocabulary, tied = SHAPES[shape]
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(tokenizer)
        if tokenizer == "embedded":
            source = Path(temporary) / "seed"
            save_seed_model("embedded", source)
        words = AutoTokenizer.from_pretrained(source)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=tied,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        made = LlamaForCausalLM(config)
        with torch.no_grad():
            made.model.norm.weight.mul_(
                8
            )  # a real model is sure of most tokens; equal logits are a sampler's worst case
    made.save_pretrained(folder)
    words.save_pretrained(folder)
    print(f"{sum(weight.numel() for weight in made.parameters()) / 1e9:.2f} billion parameters in {folder}")


@app.command()
def steps(
    folder: Path,
    batch: Annotated[int, typer.Option(help="examples or pairs of a step")] = 16,
    micro_batch: Annotated[int, typer.Option(help="of them at once")] = 4,
    words: Annotated[int, typer.Option(help="of a prompt, and of each text; about 1.3 tokens each")] = 300,
    count: Annotated[int, typer.Option(help="steps, the first two not counted")] = 6,
    checkpointing: Annotated[bool, typer.Option(help="gradient checkpointing")] = False,
    lora: Annotated[int, typer.Option(help="rank of adapters; 0: all weights are trained")] = 0,
    launch: Annotated[str | None, typer.Option(help="as resources.launch")] = None,
    only: Annotated[str | None, typer.Option(help="SFT or DPO")] = None,
) -> None:
    """Train on made-up texts, and print what the steps took."""
    params = load_params(Path("profiles/demo.yaml"))
    if launched(params.resources.model_copy(update={"launch": launch})):
        return
    common = {"batch_size": batch, "micro_batch_size": micro_batch, "max_steps": count, "max_length": 8192}
    common["gradient_checkpointing"] = checkpointing
    sft, dpo = params.sft.model_copy(update=common), params.dpo.model_copy(update=common)
    adapters = Lora(r=lora, alpha=2 * lora, dropout=0.0, targets="all-linear") if lora else None
    weights = Train(lora=adapters, save_dtype="bfloat16", optimizer="adamw")
    known = Path(params.prompts.file).read_text().split()
    texts = [" ".join(random.Random(place).choices(known, k=words)) for place in range(batch * count)]
    asked = [[{"role": "user", "content": text}] for text in texts]
    examples = pl.DataFrame(
        {"example_id": [str(place) for place in range(len(texts))], "kind": "judge", "messages": asked, "target": texts}
    ).with_columns(score=pl.lit(3.0))
    pairs = pl.DataFrame({"pair_id": examples["example_id"], "role": "actor", "messages": asked, "chosen": texts})
    pairs = pairs.with_columns(
        rejected=pl.Series(texts[::-1]), chosen_finish=pl.lit("stop"), rejected_finish=pl.lit("stop")
    ).filter(pl.col("chosen") != pl.col("rejected"))
    process = this_process()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    if process.is_main_process:
        print(
            f"{process.num_processes} process(es), {device}; {folder}; {batch} a step, {micro_batch} at once, "
            f"bf16 {loop.bfloat16_is_fast()}, {launch or 'no launch file'}, adapters {adapters}, "
            f"gradient checkpointing {checkpointing}"
        )
    here = Path(tempfile.gettempdir()) / f"steps-{os.environ.get('METAREWARD_LAUNCHER', os.getpid())}"
    try:
        runs = {
            "SFT": lambda: train_sft(
                folder, examples.select(empty_table("eft").columns), here / "sft", sft, here, 1, weights=weights
            ),
            "DPO": lambda: train_dpo(folder, pairs, here / "dpo", dpo, here, 1, weights=weights),
        }
        for name, run in runs.items():
            if name == (only or name):
                report(name, run, batch, count)
    finally:
        shutil.rmtree(here, ignore_errors=True)


def report(name: str, run: Any, batch: int, count: int) -> None:
    """Run a training and print the median step and the rest of its time."""
    ends: list[float] = []
    on_step_end = loop._Watch.on_step_end

    def watch(self: Any, *args: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        on_step_end(self, *args, **kwargs)

    loop._Watch.on_step_end = watch  # type: ignore[method-assign]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    metrics = run()
    whole = time.perf_counter() - started
    loop._Watch.on_step_end = on_step_end  # type: ignore[method-assign]
    taken = [after - before for before, after in itertools.pairwise(ends)][WARM_UP - 1 :]
    step = statistics.median(taken)
    tokens = metrics["tokens"] / (metrics["rows_trained"] + metrics.get("not_reached", 0)) * batch
    if not this_process().is_main_process:
        return
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _peak()
    print(
        f"{name}: {step:.3f} s a step of {tokens:.0f} tokens, {tokens / step:.0f} tokens/s, peak {peak / 1e9:.1f} GB; "
        f"first loss {metrics['loss_first']:.4f}; {whole - step * count:.0f} s before and after the steps",
        flush=True,
    )


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(app())
