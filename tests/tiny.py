"""What the profile `tiny` needs: a random two-layer Llama, examples short enough for it to learn, tiny benchmarks.

python tests/tiny.py tiny
"""

import json
import sys
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "data/samples/prompts.jsonl"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def save_tiny_model(folder: Path, vocabulary: int = 512, seed: int = 0) -> Path:
    """Write config, weights (float32) and tokenizer with chat template; the same bytes for the same arguments."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SAMPLES.read_text().splitlines(), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def save_tiny_reward_model(folder: Path, causal: Path, seed: int = 1, pad: bool = True) -> Path:
    """Write a random sequence classifier with one output, of the shape and with the tokenizer of `save_tiny_model`.

    Its weights are wider than those of a fresh model, so that scores differ in the first decimals.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    AutoTokenizer.from_pretrained(causal).save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig.from_pretrained(causal, num_labels=1, initializer_range=0.3)
    config.pad_token_id = config.pad_token_id if pad else None
    model = LlamaForSequenceClassification(config)
    model.save_pretrained(folder)
    return folder


def save_tiny_examples(folder: Path) -> None:
    """Examples for eft.*: few words that end in a score or a winner, so that two layers can learn the form.

    Score and winner are spread evenly and follow from nothing: what this model judges means nothing.
    """
    prompts = [json.loads(line)["prompt"] for line in SAMPLES.read_text().splitlines()]
    judge, meta_judge, compare = [], [], []
    for i, prompt in enumerate(prompts):
        other, score, winner = prompts[i - 1][:60], i % 6, "ab"[i % 2]
        ranked = {"prompt": prompt, "response": other, "rank": 1 + i % 2, "score": score}
        judge.append(ranked | {"judgment": f"Earned.\nScore: {score}"})
        judge.append(ranked | {"response": other[::-1], "rank": 2 - i % 2, "judgment": f"Earned.\nScore: {score}"})
        battle = {"judgment_a": f"Earned.\nScore: {score}", "judgment_b": f"Earned.\nScore: {5 - score}"}
        verdict = f"Better.\nWinner: Judgment {winner.upper()}"
        meta_judge.append({"prompt": prompt, "response": other, **battle, "meta_judgment": verdict, "winner": winner})
        verdict = f"Better.\nWinner: Response {winner.upper()}"
        responses = {"response_a": other, "response_b": other[::-1]}
        compare.append({"prompt": prompt, **responses, "comparison": verdict, "winner": winner})
    for name, rows in {"eft": judge, "meta_judge": meta_judge, "comparisons": compare}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in TEMPLATES.items():
        (folder / f"{name}.txt").write_text(text)


def save_tiny_benchmarks(folder: Path) -> None:
    """Questions of ours in the formats of the public benchmarks, of which they say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in BENCHMARKS.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name).write_text(json.dumps(rows, indent=2) if name.endswith(".json") else lines)


def _answer(id_: str, text: str) -> dict[str, object]:
    return {"question_id": id_, "model_id": "baseline", "choices": [{"index": 0, "turns": [{"content": text}]}]}


ROPES = ["How long is a rope of two parts of three metres?", "And of five such parts?"]
BENCHMARKS = {
    "alpaca_eval.json": [
        {"dataset": dataset, "instruction": instruction, "output": output, "generator": "baseline"}
        for dataset, instruction, output in (
            ("garden", "When are bulbs of tulips planted?", "In autumn, before the first frost."),
            ("garden", "Name two herbs that like shade.", "Mint and parsley."),
            ("kitchen", "How is a dull knife made sharp?", "Draw it over a whetstone at a flat angle."),
            ("kitchen", "Write one line that sells fresh bread.", "Warm at seven, gone by nine."),
        )
    ],
    "arena_hard_questions.jsonl": [
        {"question_id": id_, "cluster": "ours", "turns": [{"content": text}]}
        for id_, text in (
            ("q1", "Write a shell command that counts the lines of all text files below a folder."),
            ("q2", "Why does ice float?"),
            ("q3", "Plan a day for four people and one car."),
        )
    ],
    "arena_hard_baseline.jsonl": [
        _answer("q1", "find . -name '*.txt' -exec cat {} + | wc -l"),
        _answer("q2", "Ice takes more room than the water that it was, so it weighs less for its size."),
        _answer("q3", "Drive together, split at noon, meet again at the car."),
    ],
    "mt_bench_questions.jsonl": [
        {"question_id": 1, "category": "math", "turns": ROPES},
        {"question_id": 2, "category": "writing", "turns": ["Write a line about rain.", "Now without the letter e."]},
    ],
    "mt_bench_references.jsonl": [
        {"question_id": 1, "choices": [{"index": 0, "turns": ["Six metres.", "Fifteen metres."]}]}
    ],
}


TEMPLATES = {
    "rubric": "From 0 to 5.",
    "judge": "{rubric}\n{prompt}\n{response}\nScore:",
    "meta_judge": "{rubric}\n{prompt}\n{response}\n{judgment_a}\n{judgment_b}\nWinner: Judgment",
    "compare": "{prompt}\n{response_a}\n{response_b}\nWinner: Response",
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    save_tiny_model(folder / "model")
    save_tiny_reward_model(folder / "reward_model", folder / "model")
    save_tiny_examples(folder)
    save_tiny_benchmarks(folder / "benchmarks")
