"""Take docs/report.png of the report at hand: python docs/report_picture.py (after make run; Chromium)."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import browse  # noqa: E402

WIDTH, HEIGHT = 1280, 1440


async def take(page: Any) -> None:
    await page.open(Path("report.html"), WIDTH, HEIGHT)
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}
    await page.picture(ROOT / "docs/report.png", clip=clip)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        browse(Path(folder) / "browser", take)
