"""The pages hold what the code, and other pages, send their readers to."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

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


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/samples/*.md")]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings: lower case, blanks as hyphens, no other punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_are_there(page):
    """Paths in `code type` that begin with a folder of the project; not those that the page has one write."""
    folders = "|".join(path.name for place in (ROOT, ROOT / "src/metareward") for path in place.glob("[a-z]*/"))
    text = page.read_text(encoding="utf-8")
    made = "data|models|build|tiny"  # by a run
    for path in re.findall(rf"`((?!(?:{made})/)(?:{folders})/[\w./-]+)`(?!:\n)", text):
        written = f"`{path}`:\n" in text
        assert written or (ROOT / path).exists() or (ROOT / "src/metareward" / path).exists(), path


def test_the_readmes_tree_is_the_tree():
    tree = re.search(r"## What is where\n+```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    wings = re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)
    assert wings == re.findall(r"^\| `(\w+)/` ", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    folders = {path.split("/")[0] for path in tracked if "/" in path and not path.startswith(".")}
    assert folders | {"models"} == set(re.findall(r"(?:^|[,;] )(\w+)/", tree, re.MULTILINE))


def test_every_hook_is_local_and_one_of_the_gates_checks():
    """Nothing is fetched for a commit, and a commit is not held to other rules than `make test`."""
    gate = re.search(r"^test: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    for hook in repos[0]["hooks"]:
        assert hook["language"] == "system"
        command = hook["entry"].removeprefix(".venv/bin/")
        assert re.search(rf"^\t{re.escape(command)}( \.)?$", gate, re.MULTILINE), command


def test_make_help_lists_every_target():
    targets = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split())
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"^make ([\w-]+) ", shown, re.MULTILINE)) == targets
