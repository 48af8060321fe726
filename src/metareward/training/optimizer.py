"""The optimizer by its name in params."""

from importlib.util import find_spec
from typing import Any

from metareward import params
from metareward.errors import UserError


def demand_optimizer(settings: params.Train) -> None:
    """Raise UserError where the optimizer's library is missing; none is loaded."""
    if settings.optimizer == "adamw_8bit" and find_spec("bitsandbytes") is None:
        raise UserError(
            "optimizer is adamw_8bit, which needs a library that is not installed: pip install -e '.[bitsandbytes]', "
            "or set it to adamw. (params.yaml: train.optimizer)"
        )


def optimizer_arguments(settings: params.Train) -> dict[str, Any]:
    """What the Trainer is told: nothing for AdamW, which is its own.

    Raises UserError where the optimizer's library is missing.
    """
    demand_optimizer(settings)
    if settings.optimizer == "adamw":
        return {}
    return {"optim": "adamw_bnb_8bit"}
