"""What every stage script shares: where things lie, how a stage begins and ends, how it samples from a model."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl
import typer

from metareward.dvc_locks import wait_for_dvc
from metareward.errors import UserError
from metareward.generate import Sampler
from metareward.ids import content_seed
from metareward.inputs import check_inputs
from metareward.journal import work_directory
from metareward.params import Params, load_params
from metareward.prompts import Templates, load_templates
from metareward.select import in_parts
from metareward.tables import empty_table, scan_table, tally, write_parts, write_table

MODELS = Path("models")
EFT = Path("data/eft")
TRAINING = Path("data/training")
STARTED = time.monotonic()


def iteration(name: str) -> Path:
    """The folder of an iteration's tables."""
    return Path("data/iterations") / name


def evaluation(checkpoint: str) -> Path:
    """The folder of what a checkpoint writes on the held-out sets."""
    return Path("data/evaluations") / checkpoint


def comparison(checkpoint: str) -> Path:
    """The folder of what the referee says of a checkpoint's responses."""
    return Path("data/comparisons") / checkpoint


def run(stage: Callable[..., None]) -> None:
    """Run a stage script's function on the command line; a user's mistake is one line and exit code 2."""
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with_dvc, daemon=True).start()
    try:
        typer.run(stage)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _end_with_dvc() -> None:
    """End this process when the DVC that started it is gone: else it would run on beside its successor."""
    try:
        wait_for_dvc()
        print("error: DVC is gone, so this stage ends. Hint: if srun or ssh runs it, unset DVC_STAGE.", file=sys.stderr)
    finally:
        os._exit(1)


def load() -> Params:
    """The params, after every file they name was found in order."""
    params = load_params(Path("params.yaml"))
    check_inputs(params)
    return params


def templates(params: Params) -> Templates:
    """The texts that judge, meta-judge and referee are given."""
    return load_templates(dict(params.templates))


def scan_parts(folder: Path, *files: str) -> Iterator[dict[str, pl.LazyFrame]]:
    """`prompts` and other tables of an iteration, part by part, each under the name of its schema.

    files: names without their ending; `unique_responses` comes as `responses`.
    """
    names = {file.removeprefix("unique_"): file for file in ("prompts", *files)}
    return in_parts({name: scan_table(folder / f"{file}.parquet", name) for name, file in names.items()})


def write_pairs(parts: Iterable[tuple[pl.DataFrame, pl.DataFrame]], folder: Path, role: str) -> None:
    """The preference pairs of a role and the prompts without one, which come part by part."""
    no_pairs = [empty_table("no_pairs")]

    def pairs() -> Iterator[pl.DataFrame]:
        for with_pair, without in parts:
            no_pairs.append(without)
            yield with_pair

    counts = write_parts(pairs(), folder / f"{role}_pairs.parquet", f"{role}_pairs")
    reasons = write_table(pl.concat(no_pairs), folder / f"{role}_no_pairs.parquet", "no_pairs")["reason"]
    say(f"{counts['prompt_id']} {role} pairs; prompts without: {tally(reasons)}")


def say(text: str) -> None:
    """A stage's last line: what came out, and in how many seconds."""
    print(f"{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:2])}: {text} ({time.monotonic() - STARTED:.1f} s)".strip())


def stage_seed(params: Params) -> int:
    """The seed of this stage's draws: another one for each stage and iteration."""
    return content_seed(params.seed, Path(sys.argv[0]).stem, *sys.argv[1:2])


def sampler(params: Params, model: Path) -> Sampler:
    """What a checkpoint writes in this stage, journaled under .work/ by stage and iteration."""
    label = "@".join([Path(sys.argv[0]).stem, *sys.argv[1:2]])
    return Sampler(params.engine, params.resources, model, work_directory(Path.cwd()) / label, label)
