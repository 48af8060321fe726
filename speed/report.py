"""How long report.html of a run takes to make, how much memory, and when a browser first shows something of it.

python speed/paper_run.py FOLDER     # a made-up run of the paper's size
python speed/report.py FOLDER        # Chromium and two minutes
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from metareward.load_params import load_params

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import browse  # noqa: E402

PAINT = "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"


def report(folder: Path) -> None:
    """Times of each stage and of five visits; the folder keeps what the stages wrote."""
    for name in ("profiles", ".dvc"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    iterations = load_params(folder / "params.yaml").iterations
    stage(folder, "digest", "sft")
    for name, iteration in iterations.items():
        stage(folder, "digest", name, iteration.prev)
    stage(folder, "report")
    page = folder / "report.html"
    print(f"report.html: {page.stat().st_size / 1e6:.2f} MB")

    async def visit(tab: Any) -> None:
        for _ in range(5):
            await tab.open(page)
            first, drawn = await tab.evaluate(PAINT)
            print(f"first paint {first / 1000:.2f} s, all charts {drawn / 1000:.2f} s")

    with TemporaryDirectory() as place:
        browse(Path(place) / "browser", visit)


def stage(folder: Path, name: str, *arguments: str) -> None:
    """Run a stage as a process of its own; print its seconds and its peak memory."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, ROOT / "stages" / f"{name}.py", *arguments], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{name} failed")
    seconds = time.perf_counter() - started
    print(f"{name} {' '.join(arguments[:1])}: {seconds:.1f} s, {usage.ru_maxrss * 1024 / 1e9:.2f} GB")


if __name__ == "__main__":
    typer.run(report)
