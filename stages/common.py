"""What every stage script shares: where things lie, how a stage begins and ends, how it samples from a model."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import typer
from tqdm import tqdm

from metareward.engines import Completion, Request, load_engine
from metareward.errors import UserError
from metareward.generate import COMPLETIONS
from metareward.ids import content_seed
from metareward.inputs import check_inputs
from metareward.params import Params, load_params
from metareward.prompts import Templates, load_templates

MODELS = Path("models")
EFT = Path("data/eft")
TRAINING = Path("data/training")
STARTED = time.monotonic()
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_MININTERVAL", "20")  # a progress line now and then where it goes to a log


def iteration(name: str) -> Path:
    """The folder of an iteration's tables."""
    return Path("data/iterations") / name


def evaluation(checkpoint: str) -> Path:
    """The folder of a checkpoint's evaluation."""
    return Path("data/evaluations") / checkpoint


def run(stage: Callable[..., None]) -> None:
    """Run a stage script's function on the command line; a user's mistake is one line and exit code 2."""
    try:
        typer.run(stage)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def load() -> Params:
    """The params, after every file they name was found in order."""
    params = load_params(Path("params.yaml"))
    check_inputs(params)
    return params


def templates(params: Params) -> Templates:
    return load_templates(dict(params.templates))


def say(text: str) -> None:
    """A stage's last line: what came out, and in how many seconds."""
    print(f"{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:2])}: {text} ({time.monotonic() - STARTED:.1f} s)".strip())


def counts(reasons: pl.Series) -> str:
    """Reasons with their counts, the most frequent first: "12 equal_scores, 3 chosen_too_long"."""
    found = reasons.drop_nulls().value_counts().sort("count", reasons.name, descending=[True, False])
    return ", ".join(f"{count} {reason}" for reason, count in found.iter_rows()) or "none"


def write_json(values: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, path)


def work_directory() -> Path:
    """Where unfinished work is kept: `.work` at the main checkout's root, also from a DVC experiment's copy of it."""
    here = Path.cwd()
    experiment = next((parent for parent in [here, *here.parents] if parent.parts[-3:-1] == (".dvc", "tmp")), None)
    return (experiment.parents[2] if experiment else here) / ".work"


def stage_seed(params: Params) -> int:
    """The seed of this stage's draws: another one for each stage and iteration."""
    return content_seed(params.seed, Path(sys.argv[0]).stem, *sys.argv[1:2])


def sample(params: Params, model: Path, requests: Iterable[Request], total: int) -> pl.DataFrame:
    """Completions of the requests by the model of a folder, with a progress bar; no model is loaded for none.

    total: how many completions there will be.
    """
    rows: list[Completion] = []
    if total:
        settings = params.engine
        engine = load_engine(settings.name, model, settings.dtype, settings.max_context, settings.batch_tokens)
        with tqdm(total=total, unit="sample", desc=Path(sys.argv[0]).stem) as progress:
            for completions in engine.generate(list(requests)):
                rows += completions
                progress.update(len(completions))
    return pl.DataFrame([vars(row) for row in rows], schema=COMPLETIONS)
