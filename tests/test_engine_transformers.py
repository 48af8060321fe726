"""The local engine: the stock model's logits and distribution, batches that cannot be told from single requests."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from metareward.engines.common.chat import encode_chat, token_text
from metareward.engines.common.interface import Request, Sampling
from metareward.engines.transformers import engine as engine_module
from metareward.engines.transformers.engine import TransformersEngine
from metareward.engines.transformers.padded import PaddedRows
from metareward.engines.transformers.sampling import CANDIDATES, sample_tokens, top_logprobs, uniform_streams
from metareward.engines.transformers.tree import LEAST_SHARED, LONGEST_SEGMENT, Tree, compaction, grow_tree
from metareward.errors import UserError


def words(n, seed):
    return np.random.default_rng(seed).integers(3, 500, n).tolist()


SHARED = words(LEAST_SHARED + 10, 0)
PROMPTS = {  # each with the segments (parent, start, length) that its tree must have, in any order
    "alone": ([words(5, 1)], [(-1, 0, 5)]),
    "nothing in common": ([words(5, 1), words(9, 2)], [(-1, 0, 5), (-1, 0, 9)]),
    "too little in common": ([[*words(8, 1), 7], [*words(8, 1), 8]], [(-1, 0, 9), (-1, 0, 9)]),
    "shared start": ([[*SHARED, 7, 8], [*SHARED, 9]], [(-1, 0, len(SHARED)), (0, len(SHARED), 2), (0, len(SHARED), 1)]),
    "one begins the other": ([SHARED, [*SHARED, 9]], [(-1, 0, len(SHARED)), (0, len(SHARED), 1)]),
    "twice the same": ([words(5, 1), words(5, 1)], [(-1, 0, 5)]),
    "long": ([words(LONGEST_SEGMENT + 3, 1)], [(-1, 0, LONGEST_SEGMENT), (0, LONGEST_SEGMENT, 3)]),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_what_prompts_begin_with_in_common_is_one_segment(case):
    prompts, expected = PROMPTS[case]
    segments, ends = grow_tree(prompts)
    assert sorted((s.parent, s.start, len(s.tokens)) for s in segments) == sorted(expected)
    assert [path(segments, end) for end in ends] == prompts


def path(segments, end):
    tokens = []
    while end >= 0:
        tokens = list(segments[end].tokens) + tokens
        end = segments[end].parent
    return tokens


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=80), min_size=1, max_size=8))
def test_every_prompt_is_the_path_to_its_end(prompts):
    segments, ends = grow_tree(prompts)
    assert [path(segments, end) for end in ends] == prompts
    assert all(segment.parent < place for place, segment in enumerate(segments))


@given(st.integers(1, 30).flatmap(lambda n: st.lists(st.integers(0, n - 1), unique=True, min_size=1)))
def test_compaction_keeps_what_is_kept_and_moves_nothing_else(kept):
    kept = np.array(sorted(kept))
    order = compaction(kept)
    assert sorted(order) == list(kept)
    stayed = kept[kept < len(kept)]
    assert (order[stayed] == stayed).all()


def check_logits(rows_class, folder, prompts, copies):
    """Prefill, steps and dropped rows give the logits of whole sequences run alone, row by row."""
    engine = TransformersEngine(folder, dtype="float32")
    model = engine.model
    rows = [list(prompt) for prompt, n in zip(prompts, copies, strict=True) for _ in range(n)]
    expected = {}

    def alone(tokens):
        if tuple(tokens) not in expected:
            stock.eval()
            expected[tuple(tokens)] = stock(torch.tensor([tokens])).logits[0, -1]
        return expected[tuple(tokens)]

    from transformers import AutoModelForCausalLM

    stock = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        running = rows_class(model, prompts, copies, 6)
        logits = running.prefill()
        for step in range(6):
            torch.testing.assert_close(logits, torch.stack([alone(row) for row in rows]), atol=1e-4, rtol=1e-4)
            if step == 5:
                break
            if step in (1, 3):  # every other row, then the last two, have ended
                kept = np.arange(0, len(rows), 2) if step == 1 else np.arange(len(rows) - 2)
                order = compaction(kept)
                rows = [rows[place] for place in order]
                running.keep(order)
            drawn = torch.arange(len(rows)) * 7 + step
            rows = [[*row, int(token)] for row, token in zip(rows, drawn, strict=True)]
            logits = running.step(drawn)


def test_logits_over_the_tree_are_the_stock_models(tiny_model):
    # rows that end at three depths: one that reads no segment of a level must get nothing from it
    prompts = [[*SHARED, *words(40, 1)], [*SHARED, *words(9, 2)], words(600, 3), words(4, 4), [*SHARED, *words(9, 2)]]
    check_logits(Tree, tiny_model, prompts, [3, 2, 2, 4, 1])


@pytest.fixture(scope="module")
def windowed_model(tiny_model, tmp_path_factory):
    """A model whose attention sees a window of 8 tokens only: no case for the tree."""
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    folder = tmp_path_factory.mktemp("windowed")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(folder)
    return folder


def test_other_architectures_run_on_padded_rows_with_the_stock_logits(windowed_model):
    assert not TransformersEngine(windowed_model).shares_prefixes
    check_logits(PaddedRows, windowed_model, [words(20, 1), words(9, 2), words(30, 3)], [3, 2, 3])


def check_draw(logits, temperature, top_p, uniform, token):
    """The sampler by its definition: sort everything, cut, and the token is where the distribution function says."""
    mass = (logits.double() / temperature).softmax(-1).sort(descending=True)
    cumulative = mass.values.cumsum(-1)
    last = min(int((cumulative < top_p).sum()), len(logits) - 1)
    place = int((mass.indices == token).nonzero())
    target, rounding = uniform * cumulative[last], 2e-5
    assert place <= last
    assert cumulative[place] - mass.values[place] - rounding <= target <= cumulative[place] + rounding


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    vocabulary=st.sampled_from([5, CANDIDATES, 700, 9000]),
    spread=st.sampled_from([0.01, 1.0, 4.0]),
    top_p=st.sampled_from([0.05, 0.5, 0.95, 1.0]),
    temperature=st.sampled_from([0.3, 0.8, 1.5]),
)
def test_the_sampler_draws_what_sorting_the_vocabulary_would(seed, vocabulary, spread, top_p, temperature):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(16, vocabulary, generator=generator) * spread
    uniform = torch.rand(16, generator=generator, dtype=torch.float64)
    tokens = sample_tokens(logits, torch.full((16,), temperature), torch.full((16,), top_p).double(), uniform)
    for row in range(16):
        check_draw(logits[row], temperature, top_p, uniform[row], tokens[row])


@pytest.mark.parametrize(("temperature", "top_p"), [(0.8, 0.95), (1.3, 0.6), (0.5, 1.0)])
def test_the_distribution_is_that_of_the_stock_sampler(temperature, top_p):
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    logits = torch.randn(1, 60, generator=torch.Generator().manual_seed(3)) * 2
    warped = TopPLogitsWarper(top_p)(None, TemperatureLogitsWarper(temperature)(None, logits))
    expected = warped.softmax(-1)[0].double().numpy()
    n = 40_000
    uniform = uniform_streams([(1, "request", sample) for sample in range(n // 8)], 8).flatten()
    tokens = sample_tokens(
        logits.expand(n, -1).clone(), torch.full((n,), temperature), torch.full((n,), top_p).double(), uniform
    )
    observed = np.bincount(tokens.numpy(), minlength=60)
    inside = expected > 0
    assert observed[~inside].sum() == 0  # nothing from outside the nucleus
    assert chisquare(observed[inside], expected[inside] / expected[inside].sum() * n).pvalue > 0.001


def test_streams_of_neighbours_differ_and_do_not_depend_on_the_batch():
    keys = [(1, "a", 0), (1, "a", 1), (1, "b", 0), (2, "a", 0)]
    together = uniform_streams(keys, 5)
    assert len({tuple(row.tolist()) for row in together}) == 4
    assert torch.equal(together[2], uniform_streams([keys[2]], 5)[0])
    assert torch.equal(together[:, :3], uniform_streams(keys, 3))  # a longer limit does not change the first draws


SAMPLES = Path(__file__).parents[1] / "data/samples/prompts.jsonl"
TEXTS = [json.loads(line)["prompt"] for line in SAMPLES.read_text().splitlines()]


def requests(texts, n=3, temperature=1.0, max_tokens=12, seed=1):
    sampling = Sampling(temperature, 0.95, max_tokens)
    return [Request(f"r{k}", [{"role": "user", "content": text}], n, sampling, seed) for k, text in enumerate(texts)]


def flat(batches):
    return [completion for batch in batches for completion in batch]


@pytest.fixture(scope="module")
def engine(tiny_model):
    return TransformersEngine(tiny_model, dtype="float32", batch_tokens=400)


def test_all_samples_come_in_the_order_of_the_requests_whatever_the_budget(engine, tiny_model):
    asked = requests(TEXTS[:12])
    batches = list(engine.generate(asked))
    assert len(batches) > 2
    assert [(c.request_id, c.sample) for c in flat(batches)] == [(r.id, k) for r in asked for k in range(3)]
    one = TransformersEngine(tiny_model, dtype="float32", batch_tokens=10**6)
    assert flat(one.generate(asked)) == flat(batches)  # exact in float32, short as they are
    alone = TransformersEngine(tiny_model, dtype="float32", batch_tokens=1)
    assert len(list(alone.generate(asked))) == 12


def test_completions_end_where_the_model_does_or_at_the_limit(engine):
    completions = flat(engine.generate(requests(TEXTS[:8], n=40, temperature=2.0, max_tokens=30)))
    ends = {c.finish_reason for c in completions}
    assert ends == {"stop", "length"}
    assert all(c.n_tokens == 30 for c in completions if c.finish_reason == "length")
    assert all("<|im_end|>" not in c.text for c in completions)


def test_a_request_that_does_not_fit_is_there_with_its_reason(tiny_model):
    fits, tight, over = "one", "word " * 45, "word " * 200
    engine = TransformersEngine(tiny_model, dtype="float32", max_context=64)
    (tight_tokens,) = [len(encode_chat(engine.tokenizer, r.messages)) for r in requests([tight])]
    engine.max_context = tight_tokens + 2
    completions = flat(engine.generate(requests([fits, over, tight], n=2, temperature=0.0)))
    assert [c.request_id for c in completions] == ["r0", "r0", "r1", "r1", "r2", "r2"]
    assert [(c.text, c.n_tokens, c.finish_reason) for c in completions[2:4]] == [(None, 0, "too_long")] * 2
    assert all(c.n_tokens == 2 for c in completions[4:] if c.finish_reason == "length")
    assert flat(engine.generate(requests([over], n=1)))[0].finish_reason == "too_long"
    with pytest.raises(UserError, match="max_context is 4096"):
        TransformersEngine(tiny_model, max_context=4096)


def test_a_resumed_run_repeats_the_batches_of_an_undisturbed_one(engine):
    asked = requests(TEXTS[:12])
    whole = list(engine.generate(asked))
    done = {completion.request_id for completion in whole[1]} | {whole[2][0].request_id}
    rest = flat(engine.generate(asked, done))
    assert rest == [completion for completion in flat(whole) if completion.request_id not in done]
    assert list(engine.generate(asked, {request.id for request in asked})) == []


def test_greedy_and_sampled_requests_share_a_batch(engine):
    greedy, sampled = requests(TEXTS[:1], temperature=0.0)[0], requests(TEXTS[:2])[1]
    completions = flat(engine.generate([greedy, sampled]))
    assert len({completion.text for completion in completions[:3]}) == 1
    assert len({completion.text for completion in completions[3:]}) == 3
    assert completions[3:] == flat(engine.generate([sampled]))


def test_two_processes_write_the_same_bytes(tiny_model):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_engine_transformers import *\n"
        "engine = TransformersEngine(Path(sys.argv[2]), batch_tokens=600)\n"
        "print(repr(flat(engine.generate(requests(TEXTS[:6])))))"
    )
    command = [sys.executable, "-c", code, os.path.dirname(__file__), str(tiny_model)]
    first, second = (subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2))
    assert first == second
    assert len(first) > 1000


def test_the_engine_loads_nothing_it_does_not_need(tiny_model):
    code = (
        "import sys; from pathlib import Path; from metareward.engines.transformers.engine import TransformersEngine\n"
        "TransformersEngine(Path(sys.argv[1]))\n"
        "print(sorted({'sklearn', 'scipy', 'pandas', 'datasets', 'trl', 'vllm'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tiny_model)], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_greedy_texts_of_the_real_model_are_those_of_its_own_generate(smollm2):
    from transformers import AutoModelForCausalLM

    rubric = "Points add up; each one is given only when it is earned. " * 6
    asked = requests([*TEXTS[:3], *(rubric + text for text in TEXTS[:3])], n=1, temperature=0.0, max_tokens=16)
    engine = TransformersEngine(smollm2, dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    for request, completion in zip(asked, flat(engine.generate(asked)), strict=True):
        ids = torch.tensor([encode_chat(engine.tokenizer, request.messages)])
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)[0]
        assert completion.text == engine.tokenizer.decode(whole[ids.shape[1] :], skip_special_tokens=True)


def first_tokens(model, tokenizer, request):
    """The stock model's log-probabilities of the first token, by token, in the order of the vocabulary."""
    ids = torch.tensor([encode_chat(tokenizer, request.messages)])
    with torch.inference_mode():
        return model(ids).logits[0, -1].float().log_softmax(-1)


@pytest.mark.parametrize("folder", ["tiny_model", "windowed_model"])  # over the tree, and on padded rows
def test_log_probabilities_of_the_first_token_are_the_stock_models(request, folder):
    """Before temperature and top_p, in the order of likelihood, as many as each request of a batch asks for."""
    from transformers import AutoModelForCausalLM

    folder = request.getfixturevalue(folder)
    engine = TransformersEngine(folder, dtype="float32")
    stock = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = [replace(r, first_logprobs=first) for r, first in zip(requests(TEXTS[:4], n=2), (5, 0, 1, 20), strict=True)]
    asked.append(replace(asked[0], id="greedy", sampling=Sampling(0.0, 1.0, 1)))
    found = flat(engine.generate(asked))
    plain = flat(engine.generate([replace(r, first_logprobs=0) for r in asked]))
    assert [replace(c, first_logprobs=None) for c in found] == plain  # to ask for them changes no text
    by_request = {c.request_id: c.first_logprobs for c in found}
    assert all(c.first_logprobs == by_request[c.request_id] for c in found)  # of all samples the same
    np.testing.assert_allclose(*(list(dict(by_request[id_]).values()) for id_ in ("greedy", "r0")), atol=1e-5)
    assert by_request["r1"] is None
    for one in asked:
        if one.first_logprobs:
            values, ids = first_tokens(stock, engine.tokenizer, one).topk(one.first_logprobs)
            assert [token for token, _ in by_request[one.id]] == [
                token_text(engine.tokenizer, id_) for id_ in ids.tolist()
            ]
            np.testing.assert_allclose([value for _, value in by_request[one.id]], values.numpy(), atol=1e-5)


@pytest.mark.parametrize("folder", ["tiny_model", "windowed_model"])
def test_log_probabilities_are_not_rounded_in_bfloat16(request, folder, monkeypatch):
    """Neighbours near 40 are 0.25 apart in bfloat16, more than what tells a score of 3 from a score of 4."""
    engine, seen = TransformersEngine(request.getfixturevalue(folder), dtype="bfloat16"), []
    monkeypatch.setattr(engine_module, "top_logprobs", lambda logits, n: seen.append(logits) or top_logprobs(logits, n))
    asked = requests(TEXTS[:2], n=2)
    flat(engine.generate([replace(one, first_logprobs=5) for one in asked]))
    (logits,) = seen
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())
    hidden = torch.zeros(1, engine.model.config.hidden_size, dtype=torch.bfloat16, device=engine.device)
    assert engine.model.lm_head(hidden).dtype == torch.bfloat16  # of other requests


def test_the_log_probability_of_a_text_that_the_model_is_sure_of_is_its_own(smollm2):
    """SmolLM2 begins an answer to such a question with its first word; the token keeps its name, blank and all."""
    engine = TransformersEngine(smollm2, dtype="float32")
    (asked,) = requests(["What is the capital of France? Answer in one word."], n=1, temperature=0.0, max_tokens=1)
    (found,) = flat(engine.generate([replace(asked, first_logprobs=5)]))
    assert found.first_logprobs[0][0] == found.text
    assert found.first_logprobs[0][1] == max(value for _, value in found.first_logprobs) < 0
    assert sum(np.exp(value) for _, value in found.first_logprobs) < 1


def dialogue(*texts):
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def test_dialogues_that_begin_alike_share_the_beginning_and_get_the_stock_models_texts(smollm2):
    """Two-turn and three-turn questions about one first answer: its tokens are computed once."""
    from transformers import AutoModelForCausalLM

    engine = TransformersEngine(smollm2, dtype="float32")
    answer = "Bread rises because yeast eats the sugar in the dough and gives off gas. " * 4
    first = (TEXTS[0], answer)
    chats = [
        dialogue(*first, "Shorter, please."),
        dialogue(*first, "Now as a poem."),
        dialogue(*first, "Shorter, please.", "Yeast makes gas.", "And without yeast?"),
        dialogue(TEXTS[0]),
    ]
    sampling = Sampling(0.0, 1.0, 16)
    asked = [Request(f"d{place}", chat, 1, sampling, 1) for place, chat in enumerate(chats)]
    prompts = [encode_chat(engine.tokenizer, chat) for chat in chats]
    segments, _ = grow_tree(prompts)
    shared = len(engine.tokenizer(answer, add_special_tokens=False)["input_ids"])
    assert sum(len(segment.tokens) for segment in segments) < sum(map(len, prompts)) - 2 * shared
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    for one, completion in zip(asked, flat(engine.generate(asked)), strict=True):
        ids = engine.tokenizer.apply_chat_template(
            one.messages, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)[0]
        assert completion.text == engine.tokenizer.decode(whole[ids.shape[1] :], skip_special_tokens=True)
