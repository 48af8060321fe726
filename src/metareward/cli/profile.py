"""`metareward profile`: the settings that ship."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from metareward.errors import UserError

PROFILES = Path("profiles")


def profile(name: Annotated[str | None, typer.Argument(help="the profile to copy; none: list them")] = None) -> None:
    """Copy a profile over params.yaml, or list the profiles with their first line."""
    known = {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}
    if name is None:
        for stem, path in known.items():
            print(f"{stem:15} {path.read_text().splitlines()[0].lstrip('# ')}")
    elif name not in known:
        raise UserError(f"{name} is not a profile. Known: {', '.join(known) or 'none; run this in the repository'}.")
    else:
        shutil.copyfile(known[name], "params.yaml")
        print(f"params.yaml is now {known[name]}. `dvc repro` runs it.")
