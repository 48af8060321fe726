"""The report: what of a run it shows, and that texts which models wrote stay texts, in a real browser."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from metareward.cli.report import report
from metareward.errors import UserError
from metareward.explore.report.charts import all_charts
from metareward.explore.report.digest import MOST_CHARS, cut, digest_iteration, draw
from metareward.explore.report.overview import nearest_profile
from metareward.explore.report.page import MOST_BYTES, embedded, fitting, report_page
from metareward.load_params import load_params
from metareward.tables import table_of

from browser import CHROMIUM, browse
from pipeline import ROOT

SETTINGS = load_params(ROOT / "profiles/demo.yaml").decisive()
PROFILES = {"demo": SETTINGS}
LIBRARIES = [(ROOT / f".dvc/plots/vega/{name}.min.js").read_text() for name in ("vega", "vega-lite", "vega-embed")]
HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>",
    "</script><script>alert(4)</script><!-- <script> --> ]]> {{ 7 * 7 }} ${alert(5)}",
    '<a href="javascript:alert(6)">x</a><iframe src="https://example.org/x"></iframe><link rel=prefetch href=//a.org>',
    "right \u202eto left\u202c \u2066isolate\u2069 zero\u200bwidth nul\u0000 bell\u0007 line\u2028separator",
    "x" * 1_000_000,
    "wörd" * 500 + " \U0001f600 日本語 العربية",
]


def tables(texts):
    """One prompt of an actor pair and of a judge pair, whose texts are all the same hostile ones; one without."""
    text = "\n".join(texts)
    pair = {"prompt_id": "p", "messages": [], "chosen": text, "rejected": text, "margin": 1.5}
    pair |= {"chosen_finish": "stop", "rejected_finish": "length", "chosen_chars": 7, "rejected_chars": 9}
    actor = pair | {"pair_id": "ap", "chosen_id": "r1", "rejected_id": "r2", "chosen_score": 4.0, "rejected_score": 2.5}
    judge = pair | {"pair_id": "jp", "chosen_id": "j0", "rejected_id": "j1", "response_id": "r1"}
    judge |= {"chosen_elo": 0.5, "rejected_elo": -0.5}
    responses = [{"response_id": f"r{k}", "sample": k, "n_tokens": 5, "response": text} for k in (1, 2)]
    judgments = [
        {"response_id": f"r{k}", "judgment_id": f"j{2 * (k - 1) + sample}", "sample": sample, "n_tokens": 3}
        | {"judgment": text, "score": None if sample else 4.0, "invalid_reason": "no_score" if sample else None}
        for k in (1, 2)
        for sample in (0, 1)
    ]
    battles = [
        {"response_id": "r1", "battle_id": "b0", "judgment_a": "j0", "judgment_b": "j1", "winner": "a", "n_tokens": 2},
        {"response_id": "r1", "battle_id": "b1", "judgment_a": "j1", "judgment_b": "j0", "winner": None, "n_tokens": 2},
    ]
    elo = [{"response_id": "r1", "judgment_id": f"j{k}", "elo": 0.5 - k} for k in (0, 1)]
    rows = {
        "prompts": [{"prompt_id": "p", "prompt": text}, {"prompt_id": "q", "prompt": "Why?"}],
        "responses": [{"prompt_id": "p", **row} for row in responses],
        "judgments": [{"prompt_id": "p", **row} for row in judgments],
        "battles": [{"prompt_id": "p", **row} for row in battles],
        "elo": [{"prompt_id": "p", **row} for row in elo],
        "actor_pairs": [actor],
        "judge_pairs": [judge],
    }
    no_pairs = [{"prompt_id": "q", "role": "actor", "reason": "all_scores_equal"}]
    found = {name: table_of(table, name).lazy() for name, table in rows.items()}
    return found | {
        "actor_no_pairs": table_of(no_pairs, "no_pairs").lazy(),
        "judge_no_pairs": table_of([], "no_pairs").lazy(),
    }


def entry(checkpoint, **more):
    value = {"metric": "win_rate", "benchmark": "held_out", "value": 0.6, "ci_low": 0.5, "ci_high": 0.7, "n": 8}
    curve = [{"metric": "loss", "step": step, "value": 1 / step} for step in (1, 2, 3)]
    empty = {"metrics": {}, "benchmarks": [], "bias": [], "distribution": [], "differences": [], "scores": []}
    return {"checkpoint": checkpoint, "results": [value], "curves": curve, **empty, **more}


def page(texts, **more):
    digests = [{"iteration": "sft", "tokens": {"judgments": 0}}]
    digests.append({"iteration": "m1", **digest_iteration(tables(texts), None, 1)})
    return report_page([entry("seed"), entry("sft"), entry("m1", **more)], digests, SETTINGS, PROFILES, LIBRARIES)


def test_a_digest_by_hand():
    found = digest_iteration(tables(["text"]), None, 1)
    actor, judge, none = found["items"]
    assert (actor["margin"], actor["chosen"]["score"], actor["rejected"]["cut"]) == (1.5, 4.0, True)
    assert [one.get("score", one.get("reason")) for one in actor["rejected"]["judgments"]] == [4.0, "no_score"]
    assert judge["battles"] == [" a", "- "]  # j0 first beats j1; j1 first against j0: no readable verdict
    assert [one["elo"] for one in judge["judgments"]] == [0.5, -0.5]
    assert none == {"id": "q", "role": "actor", "reason": "all_scores_equal", "prompt": "Why?"}
    assert found["tokens"] == {"responses": 10, "judgments": 12, "battles": 4}
    assert found["verdicts"] == {"first": 1, "second": 0, "unreadable": 1}
    assert sum(row["judgments"] for row in found["elo"]) == 2


def test_the_sample_is_bounded_seeded_and_in_the_tables_order():
    ids = [f"{k:03}" for k in range(100)]
    found = draw(ids, 7, "actor_pairs", 1)
    assert len(found) == 7
    assert found == sorted(found) == draw(ids, 7, "actor_pairs", 1)
    assert found != draw(ids, 7, "actor_pairs", 2)
    assert draw(ids, None, "actor_pairs", 1) == draw(ids, 100, "actor_pairs", 1) == ids


def test_a_long_text_is_cut_and_says_how_long_it_was():
    assert cut("a" * MOST_CHARS) == "a" * MOST_CHARS
    assert cut("a" * (MOST_CHARS + 1)) == {"text": "a" * MOST_CHARS, "chars": MOST_CHARS + 1}
    assert cut(None) is None


def test_as_many_items_as_fit_of_each_kind_equally_many():
    items = [{"iteration": one, "role": "actor", "id": f"{k}"} for one in ("m1", "m2") for k in range(3)]
    items.append({"iteration": "m2", "role": "judge", "id": "x", "reason": "equal_elo"})
    size = len(embedded(items[0])) + 1
    assert fitting(items, 10**6, 1) == items
    found = fitting(items, 5 * size + len(embedded(items[-1])) + 1 - 1, 1)  # one byte too few for the third of each
    assert [(one["iteration"], one["role"]) for one in found] == [("m1", "actor")] * 2 + [("m2", "actor")] * 2 + [
        ("m2", "judge")
    ]
    assert found == [one for one in items if one in found] == fitting(items, 5 * size + len(embedded(items[-1])), 1)
    assert fitting(items, 10, 1) == []


def test_the_page_of_a_large_run_stays_under_its_limit_and_says_so():
    found = digest_iteration(tables(["text"]), None, 1)
    actor = found["items"][0]
    items = [actor | {"id": f"{k}", "prompt": "é<" * 5_000} for k in range(500)]  # 500 of 40 kB: 20 MB
    digests = [{"iteration": "sft", "tokens": {}}, {"iteration": "m1", **found, "items": items}]
    digests[1]["n"] = found["n"] | {"actor_pairs": 9_000, "judge_pairs": 0, "actor_no_pairs": 0}
    page = report_page([entry("seed"), entry("sft"), entry("m1")], digests, SETTINGS, PROFILES, LIBRARIES)
    assert 0.97 * MOST_BYTES < len(page.encode()) < MOST_BYTES
    shown = len(json.loads(re.search('id="items">(.*?)</script>', page)[1]))
    assert f"Here are {shown} of 9,000 pairs and all 0 prompts without a pair, drawn by the seed" in page
    assert "500 were drawn; more do not fit into a page of 10 MB." in page


def test_embedded_json_is_the_same_value_and_ends_no_element():
    value = [*HOSTILE, "lone \ud800 surrogate", "&lt;"]
    text = embedded(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", text)
    text.encode()


def test_the_same_run_makes_the_same_page_under_a_policy_without_exceptions():
    first = page(["text"])
    assert first == page(["text"])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', first)[1].replace("&#39;", "'")
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "connect-src 'none'", "base-uri 'none'", "form-action 'none'"):
        assert part in policy.split("; ")
    assert not re.search(r"\s(on\w+|style|src)=", re.sub(r"<(script|style)\b.*?</\1>", "", first, flags=re.DOTALL))


def test_the_nearest_profile_is_the_one_of_fewest_differences():
    own = {"seed": 2, "dpo": {"beta": 0.1, "max_steps": None}}
    near, far = {"seed": 1, "dpo": own["dpo"]}, {"seed": 1, "dpo": {"beta": 0.2, "max_steps": 3}}
    assert nearest_profile(own, {"far": far, "near": near}) == ("near", [{"name": "seed", "profile": "1", "run": "2"}])
    assert nearest_profile(own, {"own": own}) == ("own", [])
    assert nearest_profile(own, {}) == (None, [])


def test_every_chart_without_rows_says_so():
    for charts in all_charts([], {}).values():
        assert all(chart.rows == [] and chart.empty for chart in charts)


def test_monitors_are_shown_with_their_outcome():
    look = {"direction": "above", "action": "warn", "look": "metareward show judge"}
    monitors = [
        {"monitor": "score_at_maximum", "value": 0.9, "limit": 0.8, "passed": False, **look},
        {"monitor": "first_position_wins", "value": None, "limit": 0.9, "passed": None, **look},
    ]
    found = page(["text"], monitors=monitors)
    assert '<td class="number">0.9</td><td>above 0.8</td><td class="failed">failed (warn)</td>' in found
    assert "not measured" in found


def test_the_command_copies_the_page_with_its_revision(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"report\.html cannot be read: .* Hint: dvc repro makes it"):
        report()
    Path("report.html").write_text("a note")
    with pytest.raises(UserError, match="is not what a run writes"):
        report()
    Path("report.html").write_text(page(["text"]))
    monkeypatch.setattr("metareward.cli.report.revision", lambda: "Revision <abc>.")
    report(to=Path("copies/mine.html"))
    assert "Revision &lt;abc&gt;." in Path("copies/mine.html").read_text()
    assert "Revision" not in Path("report.html").read_text()
    with pytest.raises(UserError, match="is a folder"):
        report(to=Path("copies"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
@pytest.mark.parametrize(
    "texts", [["text"], *([text] for text in HOSTILE), HOSTILE[:4]], ids=lambda texts: texts[0][:12]
)
def test_a_browser_shows_every_text_literally_runs_none_and_asks_for_nothing(tmp_path, texts):
    file = tmp_path / "report.html"
    file.write_text(page(texts), encoding="utf-8")

    async def visit(tab):
        await tab.open(file, width=390)
        await tab.evaluate("document.querySelectorAll('details.pair').forEach((one) => { one.open = true; })")
        await tab.until("document.querySelectorAll('.body').length === 3")
        await tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        await tab.until("document.querySelectorAll('.judgments li').length === 6")
        await asyncio.sleep(0.5)  # time for what should not happen
        shown = "[...document.querySelectorAll('.text')].map((one) => one.textContent)"
        width = "document.documentElement.scrollWidth"
        return await tab.evaluate(shown), await tab.evaluate(width), tab

    shown, width, tab = browse(tmp_path / "browser", visit)
    text = "\n".join(texts)
    hidden = "[\u0000-\u0008\u000b-\u001f\u200b\u2028-\u202e\u2060-\u206f]"
    literal = re.sub(hidden, lambda match: f"U+{ord(match[0]):04X}", text[:MOST_CHARS])
    assert len(shown) == 12  # prompts of three items, chosen and rejected, a response, six judgments
    if len(text) > MOST_CHARS:
        literal += f"{len(text) - MOST_CHARS:,} more characters are not shown"
    assert sorted(set(shown)) == sorted({literal, "Why?"})
    assert width == 390  # no text pushes the page wider
    assert tab.requests() == [file.as_uri()]
    assert tab.told("Page.javascriptDialogOpening") == []
    assert tab.complaints() == []
