"""How long selection and Elo take: the stage scripts on made-up tables of the paper's shape, the Elo fit on its own.

    python speed/selection.py paper          # each stage at paper scale, from process start to exit
    python speed/selection.py scale 1 10     # at multiples of it: time and peak memory
    python speed/selection.py fit            # the Elo fit against loops over scikit-learn and choix

Run from the root of a clone; the tables go to a folder under --folder and are deleted afterwards.
"""

import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

ROOT = Path(__file__).parents[1]
TEMPORARY = Path(tempfile.gettempdir())
ITERATION = "m2"  # rho 0.32, judge trained
app = typer.Typer(add_completion=False)
Folder = Annotated[Path, typer.Option(help="where the tables go for the time being")]


def workspace(folder: Path, scale: int, verdict_chars: int) -> Path:
    """A folder in which the stages run: the repository's params, templates and samples, and made-up tables."""
    here = Path(tempfile.mkdtemp(prefix="metareward-", dir=folder))
    shutil.copy(ROOT / "params.yaml", here)
    (here / "data" / "iterations").mkdir(parents=True)
    (here / "templates").symlink_to(ROOT / "templates")
    (here / "data" / "samples").symlink_to(ROOT / "data" / "samples")
    arguments = [str(here / "data" / "iterations" / ITERATION), str(scale), str(verdict_chars)]
    seconds, _, _ = measure(here, [str(ROOT / "speed" / "tables.py"), *arguments])
    print(f"{scale} x paper scale made in {seconds:.0f} s, {gigabytes(here):.1f} GB on disk", flush=True)
    return here


def measure(here: Path, command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory (GB) of a Python script run in a folder."""
    started = time.perf_counter()
    child = os.posix_spawn(
        "/usr/bin/env", ["env", f"--chdir={here}", sys.executable, *command], {**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def stage(here: Path, name: str) -> tuple[float, float, float]:
    return measure(here, [str(ROOT / "stages" / f"{name}.py"), ITERATION])


def gigabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("data/iterations/*/*")) / 1e9


@app.command()
def paper(repeats: int = 3, folder: Folder = TEMPORARY) -> None:
    """Scores and actor pairs, then battles to Elo to judge pairs: the median of the repeats of each stage."""
    here = workspace(folder, 1, verdict_chars=1000)
    for names in (("score", "actor_pairs"), ("elo", "judge_pairs")):
        medians = [np.median([stage(here, name) for _ in range(repeats)], axis=0) for name in names]
        for name, (seconds, cpu, memory) in zip(names, medians, strict=True):
            print(f"{name:12} {seconds:5.1f} s, {cpu:5.1f} s of CPU, {memory:.2f} GB")
        print(f"{'together':12} {sum(seconds for seconds, _, _ in medians):5.1f} s")
    shutil.rmtree(here)


@app.command()
def scale(scales: list[int], folder: Folder = TEMPORARY) -> None:
    """Every stage of selection at multiples of paper scale; verdicts, which none of them reads, are short."""
    for multiple in scales:
        here = workspace(folder, multiple, verdict_chars=20)
        for name in ("dedup", "score", "actor_pairs", "choose", "elo", "judge_pairs"):
            seconds, cpu, memory = stage(here, name)
            print(f"{multiple:3} x {name:12} {seconds:6.1f} s, {cpu:6.1f} s of CPU, {memory:.2f} GB", flush=True)
        shutil.rmtree(here)


@app.command()
def fit(count: int = 5000, size: int = 11, compared: int = 200) -> None:
    """`metareward.elo.fit` against one matrix after the other by other people's code, on the same matrices.

    The loops are timed at the packages' defaults; results are compared on some matrices at tight tolerances.
    """
    import choix  # noqa: F401 (limits bind libraries that are loaded)
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits

    from metareward import elo

    threadpool_limits(1)  # at this size, threads only get in each other's way
    ridge = 0.01
    wins, present = tournaments(count, size), np.ones((count, size), dtype=bool)
    started = time.perf_counter()
    elos, penalty, converged = elo.fit(wins, present, ridge)
    seconds = time.perf_counter() - started
    print(f"metareward: {count} matrices in {seconds:.2f} s, all converged: {converged.all()}")
    print(f"{(penalty > 0).sum()} of them have no finite maximiser and take the ridge")
    solvers: dict[str, tuple[Callable[..., np.ndarray], dict[str, object]]] = {
        "scikit-learn": (by_scikit_learn, {"solver": "newton-cholesky", "tol": 1e-8}),
        "choix": (by_choix, {"tol": 1e-10}),
    }
    warnings.simplefilter("ignore")  # scikit-learn warns where it goes on without a penalty
    for name, (solve, tight) in solvers.items():
        started = time.perf_counter()
        for i in range(count):
            solve(wins[i], penalty[i])
        loop = time.perf_counter() - started
        found = np.array([solve(wins[i], penalty[i], **tight) for i in range(compared)])
        worst = np.abs(found - found.mean(1, keepdims=True) - elos[:compared]).max()
        print(f"{name}: {loop:.1f} s in a loop, {loop / seconds:.0f} times as long; differences up to {worst:.1e}")


def tournaments(count: int, size: int) -> np.ndarray:
    """Wins [count, size, size] of complete tournaments in both orders, the first position favoured by 0.75."""
    generator = np.random.default_rng(1)
    strengths = generator.normal(0, 1, (count, size))
    others = ~np.eye(size, dtype=bool)
    chance = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None] - 0.75))
    first_wins = generator.random((count, size, size)) < chance
    return (first_wins & others).astype(float) + (~first_wins & others).swapaxes(1, 2)


def by_scikit_learn(wins: np.ndarray, ridge: float, **settings: object) -> np.ndarray:
    """Logistic regression without intercept: a row for each ordered pair, +1 and -1, weighted by its wins."""
    from sklearn.linear_model import LogisticRegression

    winner, loser = np.nonzero(wins)
    rows = np.zeros((len(winner), len(wins)))
    places = np.arange(len(winner))
    rows[places, winner], rows[places, loser] = 1, -1
    flipped = winner > loser  # scikit-learn insists on two classes
    rows[flipped] *= -1
    model = LogisticRegression(C=1 / ridge if ridge else np.inf, fit_intercept=False, **settings)
    return model.fit(rows, ~flipped, sample_weight=wins[winner, loser]).coef_[0]


def by_choix(wins: np.ndarray, ridge: float, **settings: object) -> np.ndarray:
    """choix penalises alpha |x|^2, twice our ridge."""
    import choix

    battles = [pair for pair in zip(*np.nonzero(wins), strict=True) for _ in range(int(wins[pair]))]
    return choix.opt_pairwise(len(wins), battles, alpha=ridge / 2, **settings)


if __name__ == "__main__":
    app()
