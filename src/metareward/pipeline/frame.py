"""How a stage begins and ends. Nothing here can change a row."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import typer

from metareward.checkout import foreign_code
from metareward.errors import UserError
from metareward.inputs.check import check_inputs, judges_of
from metareward.load_params import load_params
from metareward.params import Params
from metareward.pipeline.clones import check_present
from metareward.pipeline.costs import write_costs
from metareward.pipeline.dvc_locks import wait_for_dvc
from metareward.pipeline.stage import Stage

STARTED = time.monotonic()


def run(stage: Callable[..., None]) -> None:
    """Run a stage script's function on the command line; a user's mistake is one line and exit code 2."""
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with_dvc, daemon=True).start()
    try:
        if foreign := foreign_code():
            raise UserError(
                f"{foreign}. Is stages/metareward a link to ../src/metareward? Hint: git config core.symlinks true && "
                "git checkout stages; unset PYTHONSAFEPATH"
            )
        typer.run(stage)
    except UserError as error:
        if _speaks():
            sys.stdout.flush()
            print(f"error: {error}", file=sys.stderr)
        else:
            time.sleep(1)  # the first process says the same, and all are ended when one has
        sys.exit(2)


def _speaks() -> bool:
    """Of several processes the first one."""
    return os.environ.get("RANK", "0") == "0"


def _end_with_dvc() -> None:
    """End this process when the DVC that started it is gone: else it would run on beside its successor."""
    try:
        wait_for_dvc()
        print("error: DVC is gone, so this stage ends. Hint: if srun or ssh runs it, unset DVC_STAGE.", file=sys.stderr)
    finally:
        os._exit(1)


def load() -> Params:
    """The params, after every file they name was found in order, and every judge is known to be there."""
    params = load_params(Path("params.yaml"))
    check_present(params)
    check_inputs(params)
    if judges := judges_of(params):
        from metareward.engines.judges import check_judge

        for where, judge in judges.items():
            check_judge(judge, params.resources, where)
    return params


def say(stage: Stage, text: str) -> None:
    """A stage's last line: what came out, and in how many seconds; of several processes the first one says it.

    A costly stage leaves what it took, too.
    """
    if _speaks():
        write_costs(stage)
        print(f"{stage.label}: {text} ({time.monotonic() - STARTED:.1f} s)")
