"""plots/monitors.json: what lies beyond its limit, as the commands say it."""

import json
from pathlib import Path

from metareward.errors import UserError

MONITORS = Path("plots/monitors.json")


def warnings() -> list[str]:
    """A line for each monitor beyond its limit; none where a run has not made the file.

    Raises UserError where it is another file.
    """
    if not MONITORS.exists():
        return []
    try:
        beyond = [row for row in json.loads(MONITORS.read_text()) if row["passed"] is False]
        if not beyond:
            return []
        from metareward.pipeline.monitors import described

        return [f"{row['action']}: {described(row['checkpoint'], row)}" for row in beyond]
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(
            f"{MONITORS} is not what a run writes. Hint: dvc repro --force metrics makes it anew."
        ) from None
