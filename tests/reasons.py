"""A judge that gives reasons, where the demo's says a score alone."""

from pathlib import Path
from typing import Any

import yaml


def with_reasons(values: dict[str, Any]) -> dict[str, Any]:
    """The values of params.yaml with the sample files of judgments that end in `Score: s`, and their templates."""
    samples = {"file": "eft", "meta_judge": "meta_judge", "compare": "comparisons"}
    values["eft"] |= {key: f"data/samples/{name}.jsonl" for key, name in samples.items()}
    values["eft"]["kinds"] = ["judge", "meta_judge", "compare"]
    values["templates"] |= {name: f"templates/{name}.txt" for name in ("rubric", "judge", "meta_judge", "compare")}
    values["judge"] |= {"format": "line", "read": "text", "max_tokens": 192}
    return values


def give_reasons(project: Path) -> None:
    """Change params.yaml of a project so."""
    path = project / "params.yaml"
    path.write_text(yaml.safe_dump(with_reasons(yaml.safe_load(path.read_text())), sort_keys=False))
