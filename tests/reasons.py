"""Params whose judge gives reasons before its score, as the paper's does: the demo's judge, but for its texts."""

from pathlib import Path
from typing import Any

import yaml

PLACES: dict[str, dict[str, Any]] = {
    "templates": {name: f"templates/{name}.txt" for name in ("rubric", "judge", "meta_judge")},
    "eft": {
        "file": "data/samples/eft.jsonl",
        "meta_judge": "data/samples/meta_judge.jsonl",
        "kinds": ["judge", "meta_judge", "compare"],
    },
    "judge": {"format": "line", "read": "text", "max_tokens": 192},
    "meta_judge": {"max_tokens": 96},
    "evaluate": {"compare": "verdicts"},
}


def with_reasons(values: dict[str, Any]) -> dict[str, Any]:
    """The values of params.yaml, with other ones in these places."""
    for section, changes in PLACES.items():
        values[section] |= changes
    return values


def give_reasons(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(yaml.safe_dump(with_reasons(yaml.safe_load(path.read_text())), sort_keys=False))
