"""The worked example of the docs is what the code computes."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_what_the_library_computes():
    """If this fails after a change that is meant: python docs/worked_example.py"""
    page = runpy.run_path(str(DOCS / "worked_example.py"))["write"]()
    assert page == (DOCS / "worked-example.md").read_text(encoding="utf-8")
