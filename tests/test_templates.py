"""The texts that judge, meta-judge and referee are given."""

from pathlib import Path

import pytest

from metareward.errors import UserError
from metareward.params import TemplateFiles
from metareward.templates.texts import fill, load_templates

FOLDER = Path(__file__).parents[1] / "templates"
PATHS = {name: str(FOLDER / f"{name}.txt") for name in TemplateFiles.model_fields}
BUILT_IN = load_templates(TemplateFiles(**PATHS))


def test_fill_is_one_pass():
    """A response that holds a placeholder must not be filled a second time."""
    assert fill("{a}|{b}", a="{b}", b="x") == "{b}|x"


def test_built_in_templates_hold_what_the_method_asks_for():
    judge = BUILT_IN.judge_prompt("Why?", "Because.")
    assert BUILT_IN.rubric in judge
    assert "Why?" in judge
    assert "Because." in judge
    meta = BUILT_IN.meta_judge_prompt("Why?", "Because.", "first judgment", "second judgment")
    parts = [BUILT_IN.rubric, "Why?", "Because.", "first judgment", "second judgment"]
    places = [meta.index(part) for part in parts]
    assert places == sorted(places)  # shared prefixes: rubric, instruction, response, A, then B
    compare = BUILT_IN.compare_prompt("Why?", "first response", "second response")
    places = [compare.index(part) for part in ("Why?", "first response", "second response")]
    assert places == sorted(places)
    assert "Response B" in compare


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("judge", "{rubric}{prompt}", "has no {response}, so the model would not see it."),
        (
            "judge",
            "{rubric}{prompt}{response}{answer}",
            "has {answer}, which nothing fills; known: prompt, response, rubric.",
        ),
        ("rubric", "{prompt}", "has {prompt}, which nothing fills; known: none."),
    ],
)
def test_template_with_wrong_placeholders(tmp_path, name, text, complaint):
    path = tmp_path / "wrong.txt"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_templates(TemplateFiles(**{**PATHS, name: str(path)}))
    assert str(error.value) == f"{path} {complaint} (params.yaml: templates.{name})"


def test_template_that_is_missing(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_templates(TemplateFiles(**{**PATHS, "judge": str(tmp_path / "none.txt")}))


def test_templates_may_show_json_and_latex(tmp_path):
    """{"score": 4} and \\boxed{A} are no placeholders."""
    path = tmp_path / "judge.txt"
    path.write_text('{rubric} {prompt} {response} {"score": 4} \\boxed{A} \\boxed{4} {4} {}')
    judge = load_templates(TemplateFiles(**{**PATHS, "judge": str(path)})).judge_prompt("p", "r")
    assert judge.endswith('p r {"score": 4} \\boxed{A} \\boxed{4} {4} {}')
