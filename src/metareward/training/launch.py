"""Starts the processes of a training stage, as many as params say, by accelerate's launcher in the stage's own process.

So a stage is one command whatever the hardware: `dvc repro` runs it, waits for it and ends it as any other.
"""

import logging
import os
import sys
import threading
import time
from typing import Any

import torch

from metareward.errors import UserError
from metareward.inputs.launch_file import Launch, read_launch
from metareward.params import Resources

USER_ERROR = 2  # the exit code of a stage that says what the user can change
LAUNCHER = "METAREWARD_LAUNCHER"  # for a process that was started: the id of the one that started it


def launched(resources: Resources) -> bool:
    """Start this command's processes and wait for them, where there are to be several; whether that was done.

    False in one of them, and where this process shall train alone: the caller trains.
    Raises UserError for what cannot begin: more processes than GPUs, a launch file that is refused. Ends with the exit
    code of the process that failed first, 1 where a signal ended it.
    """
    if "RANK" in os.environ:
        if LAUNCHER in os.environ:
            threading.Thread(target=_end_with_launcher, args=[int(os.environ[LAUNCHER])], daemon=True).start()
        return False
    launch, gpus = read_launch(resources.launch), torch.cuda.device_count()
    processes = resources.processes or max(gpus, 1)
    if gpus and processes > gpus:
        raise UserError(f"processes is {processes}, but {gpus} GPUs are visible. (params.yaml: resources.processes)")
    world = processes * launch.machines
    if world == 1 and (not launch.divides or not gpus):  # FSDP can keep a part of a model off one GPU
        if gpus > 1:  # one of them, and not torch's DataParallel over all
            os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        return False
    _launch(resources.launch, launch, world, processes, on_gpus=gpus > 0)
    return True


def _launch(file: str | None, launch: Launch, world: int, processes: int, on_gpus: bool) -> None:
    """Run this script with its arguments in the processes of this machine, until all have ended."""
    from accelerate.commands.launch import launch_command, launch_command_parser  # type: ignore[import-untyped]
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // processes, 1)))
    if not on_gpus:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    options = ["--config_file", file] if file else ["--multi_gpu", "--num_machines", "1"]
    # a free port; c10d ranks the machines, of which rank 0 alone would ask for a port that is free
    one = launch.machines == 1
    options += ["--main_process_port", "0"] if one else ["--machine_rank", "1", "--rdzv_backend", "c10d"]
    options += ["--num_processes", str(world), "--mixed_precision", "no"]
    arguments = launch_command_parser().parse_args([*options, *sys.argv])
    if unknown := launch.keys - vars(arguments).keys():
        raise UserError(f"{min(unknown)} is no key that accelerate knows. ({file})")
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # it would repeat what a process has said
    try:
        launch_command(arguments)
    except ChildFailedError as error:
        raise SystemExit(_told(error, world)) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None
    except ValueError as error:
        raise UserError(f"accelerate refuses {file}: {str(error).splitlines()[0]}") from None


def _told(error: Any, world: int) -> int:
    """The exit code for a process that failed; a line of it unless the process has said why."""
    rank, failure = error.get_first_failure()
    if failure.exitcode == USER_ERROR:
        return USER_ERROR
    how = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"exit code {failure.exitcode}"
    memory = " Was memory short?" if failure.exitcode == -9 else ""
    print(
        f"error: process {rank} of {world} ended with {how}, so all were ended.{memory} The next run goes on from the "
        "last saved state. (params.yaml: resources.save_steps)",
        file=sys.stderr,
    )
    return 1


def _end_with_launcher(launcher: int) -> None:
    """End this process when the one that started it is gone: else it would wait for its fellows, and hold its GPU."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)
