"""accelerate's configuration file of a training's processes: read, and refused where it could not end well."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.load_params import read_yaml
from metareward.params import Dpo, Params, Sft

DIVIDES = {"MULTI_GPU": False, "FSDP": True}  # whether each GPU holds a part


@dataclass(frozen=True)
class Launch:
    """divides: whether each GPU holds a part of the weights, gradients and optimizer states (FSDP), or all (DDP);
    machines: how many take part; keys: what the file says of FSDP, by accelerate's names."""

    divides: bool
    machines: int
    keys: frozenset[str] = frozenset()


def read_launch(path: str | None) -> Launch:
    """What a file says; of None, every GPU holds all (DDP), on one machine.

    Raises UserError, with the line to change, for what would fail after a whole training or train to other weights:
    a model that is not gathered in full, a reference that is not loaded in full, another precision, an unknown kind.
    """
    if path is None:
        return Launch(divides=False, machines=1)
    values = read_yaml(Path(path), "Hint: accelerate/fsdp2.yaml. (params.yaml: resources.launch)")
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no mapping of keys to values. Hint: see accelerate/fsdp2.yaml")
    kind = values.get("distributed_type")
    if kind == "DEEPSPEED":
        raise UserError(
            "distributed_type is DEEPSPEED, which trains weights in bfloat16: DPO's reference is then another model "
            f"than its policy. Hint: FSDP, as in accelerate/fsdp2.yaml. ({path})"
        )
    if not isinstance(kind, str) or kind not in DIVIDES:
        raise UserError(f"distributed_type is {shown(kind)}; it must be one of {', '.join(DIVIDES)}. ({path})")
    if str(values.get("mixed_precision", "no")).lower() not in ("no", "false"):
        raise UserError(
            f"mixed_precision is {shown(values['mixed_precision'])}; it must be 'no': the stage itself computes in "
            f"bfloat16 where that is faster, with float32 weights. ({path})"
        )
    machines = values.get("num_machines", 1)
    if type(machines) is not int or machines < 1:
        raise UserError(f"num_machines is {shown(machines)}; it must be a whole number >= 1. ({path})")
    if machines > 1:
        _need(values, {"rdzv_backend": "c10d"}, "on every machine the same command then joins", path)
        _need({"same_network": False} | values, {"same_network": False}, "c10d has an endpoint of its own", path)
        for name in ("main_process_ip", "main_process_port"):
            if not values.get(name):
                raise UserError(f"{name} is missing, where {machines} machines are to meet. ({path})")
    section = values.get("fsdp_config", {}) if DIVIDES[kind] else {}
    if not isinstance(section, dict):
        raise UserError(f"fsdp_config is {shown(section)}; it must be a mapping. ({path})")
    if DIVIDES[kind]:
        _need(section, {"fsdp_version": 2}, "the first version is not tested", path)
        _need(section, {"fsdp_state_dict_type": "FULL_STATE_DICT"}, "else no weights can be written at the end", path)
        only_first = "else DPO's reference holds zeros in all processes but the first"
        _need(section, {"fsdp_cpu_ram_efficient_loading": False}, only_first, path)
        told = {"fsdp_activation_checkpointing": False} | section
        by_params = "sft.gradient_checkpointing and dpo.gradient_checkpointing say that"
        _need(told, {"fsdp_activation_checkpointing": False}, by_params, path)
    return Launch(DIVIDES[kind], machines, frozenset(map(str, section)))


def check_launch(params: Params) -> None:
    """Raise UserError for a launch file that is refused, or a batch that the processes, if known, cannot share."""
    launch = read_launch(params.resources.launch)
    world = (params.resources.processes or 1) * launch.machines
    sections: dict[str, Sft | Dpo] = {"sft": params.sft, "dpo": params.dpo}
    for name, section in sections.items():
        if section.batch_size % (section.micro_batch_size * world):
            raise UserError(
                f"batch_size {section.batch_size} is not a multiple of micro_batch_size {section.micro_batch_size} "
                f"times {world} processes. (params.yaml: {name}.batch_size)"
            )


def _need(section: dict[str, Any], needed: dict[str, Any], reason: str, path: str) -> None:
    """Raise UserError when a key is missing or has another value than the one that works."""
    for name, value in needed.items():
        if section.get(name) != value:
            said = f"is {shown(section[name])}" if name in section else "is missing"
            right = str(value).lower() if isinstance(value, bool) else value
            raise UserError(f"{name} {said}; it must be {right}: {reason}. ({path})")
