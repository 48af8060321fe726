"""Which copy of the project runs: a clone, a worktree or an experiment's copy runs its own code, not an installed one.

An editable install names one folder, and every other copy that shares its environment would import from there. So
`stages/metareward` is a link to `src/metareward`: Python looks for modules beside a script first, wherever the script
lies, and processes that the script starts are told to do the same.
"""

from pathlib import Path

import metareward

OWN = Path("src/metareward/__init__.py")


def foreign_code() -> str | None:
    """What is wrong when this process runs other code than that of the copy in which it was started; None: nothing."""
    running = Path(metareward.__file__).resolve()
    if not OWN.is_file() or running.samefile(OWN):
        return None
    return f"this is the code of {running.parents[2]}, not of {Path.cwd()}"
