"""The profiles are whole files, because one is copied over params.yaml; they are kept in step here."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?: +(?P<value>[^#\s][^#]*?))?(?: +# (?P<comment>.*))?")


def entries(path):
    """{dotted key: (value, comment)} in the order of the file.

    Every line but blank ones and the head is a key, or goes on with the comment of the key before it.
    """
    found, above, key = {}, [], ""
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.lstrip().startswith("#"):
            value, comment = found[key]
            found[key] = (value, f"{comment} {line.lstrip('# ')}")
            continue
        match = LINE.fullmatch(line)
        assert match, f"{path.name}: {line!r} is not `key: value  # comment`"
        above = [*above[: len(match["indent"]) // 2], match["key"]]
        key = ".".join(above)
        found[key] = (match["value"], match["comment"])
    return found


def own(key):
    """Iterations, and what each holds, are a profile's own."""
    return key.startswith("iterations.")


@pytest.mark.parametrize("name", ["params.yaml", "profiles/paper.yaml", "profiles/tiny.yaml"])
def test_a_profile_has_the_keys_of_demo_in_its_order(name):
    demo, other = entries(ROOT / "profiles/demo.yaml"), entries(ROOT / name)
    assert [key for key in other if not own(key)] == [key for key in demo if not own(key)]


@pytest.mark.parametrize("name", ["params.yaml", "profiles/paper.yaml", "profiles/tiny.yaml"])
def test_a_profile_says_what_demo_says_of_a_key(name):
    """Word for word; a value of its own may do without demo's comment or have another, as paper's sizes do."""
    demo, other = entries(ROOT / "profiles/demo.yaml"), entries(ROOT / name)
    for key, (value, comment) in other.items():
        if not own(key) and value == demo[key][0]:
            assert comment == demo[key][1], key


def test_the_params_that_ship_are_the_profile_demo():
    """In the last commit that touched the profile: params.yaml itself is the user's to change."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run(
        [*git, "log", "-1", "--format=%H", "--", "profiles/demo.yaml"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not commit:
        pytest.skip("not a git clone of the project")
    shown = [
        subprocess.run([*git, "show", f"{commit}:{name}"], capture_output=True, text=True, check=True).stdout
        for name in ("params.yaml", "profiles/demo.yaml")
    ]
    assert shown[0] == shown[1]
