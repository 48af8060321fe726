"""The pipeline on the real seed model: one small iteration of the demo profile, up to its checkpoint."""

import json

import polars as pl
import pytest
import yaml

from pipeline import Clone


@pytest.fixture(scope="module")
def finished(demo_seed, tmp_path_factory):
    clone = Clone.copy_of(demo_seed, tmp_path_factory.mktemp("real"))
    params = yaml.safe_load((clone.folder / "profiles/demo.yaml").read_text())
    params["iterations"] = {"m1": params["iterations"]["m1"]}
    params["checkpoints"] = ["seed", "sft", "m1"]
    changes = {
        "prompts__per_iteration": 2,
        "respond__n": 2,
        "judge__n": 2,
        "sft__max_steps": 6,
        "dpo__on_empty": "copy",
        "evaluate__n_prompts": 1,
        "evaluate__n_judged_prompts": 1,
        "evaluate__n_judgments": 1,
    }
    clone.write_params(params, changes)
    clone.run("metareward check && dvc repro dpo@m1")
    return clone


def test_responses_are_english_and_judgments_take_their_form(finished):
    responses = pl.read_parquet(finished.folder / "data/iterations/m1/responses.parquet")
    assert responses.height == 4
    words = responses["response"].str.to_lowercase().str.extract_all(r"[a-z]+").explode()
    assert {"the", "a", "to", "of", "is"} & set(words)
    judgments = pl.read_parquet(finished.folder / "data/iterations/m1/judgments.parquet")
    assert judgments.height == 2 * responses.filter(pl.col("duplicate_of").is_null()).height
    assert judgments["judgment"].str.contains("^[0-5]").all()  # six steps teach that a judgment begins with its score


def test_training_lowers_the_loss_and_counts_every_row(finished):
    metrics = json.loads((finished.folder / "data/training/sft.json").read_text())
    assert metrics["rows_in"] == metrics["rows_trained"] + metrics["too_long"] + metrics["not_reached"] == 432
    assert metrics["rows_trained"] == 6 * 4  # max_steps times the batch
    assert metrics["loss_last"] < metrics["loss_first"]


def test_every_checkpoint_is_whole(finished):
    for name in ("seed", "sft", "m1"):
        files = {path.name for path in (finished.folder / "models" / name).iterdir()}
        expected = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
        assert expected <= files
        assert not [file for file in files if file.endswith((".bin", ".pt"))]
