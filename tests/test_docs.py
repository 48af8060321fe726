"""The pages in docs/ hold what the code sends its readers to."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBER = r"\d+(?:\.\d+)?"
CITATION = re.compile(rf"METHOD(?:\.md)?(?:[\s,#]*(?:and\s)?§{NUMBER}(?:-{NUMBER})?)+")


def cited_sections(text: str) -> set[str]:
    """Numbers of all sections of the method that a text cites; a range names every section in it."""
    sections = set()
    for citation in CITATION.findall(text):
        for first, last in re.findall(rf"§({NUMBER})(?:-({NUMBER}))?", citation):
            chapter, start = f".{first}".rsplit(".", 1)
            end = (last or first).rsplit(".", 1)[-1]
            sections |= {f"{chapter}.{number}".strip(".") for number in range(int(start), int(end) + 1)}
    return sections


def test_every_cited_section_of_the_method_has_a_heading():
    """Whoever renumbers docs/method.md must renumber the docstrings, too."""
    headings = re.findall(rf"^#+ ({NUMBER})\.? \w", (ROOT / "docs/method.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) == len(set(headings))
    cited = {
        (section, str(path.relative_to(ROOT)))
        for folder in ("src", "stages", "tests", "speed", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for section in cited_sections(path.read_text(encoding="utf-8"))
    }
    assert {"2", "4.1", "4.5"} <= {section for section, _ in cited}  # alone, second in a list, end of a range
    assert sorted(place for place in cited if place[0] not in headings) == []
