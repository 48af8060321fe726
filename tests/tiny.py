"""What the profile `tiny` needs: a random two-layer Llama, and examples short enough for it to learn.

python tests/tiny.py tiny
"""

import json
import sys
from pathlib import Path

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
    samples = Path(__file__).parents[1] / "data/samples/prompts.jsonl"
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(samples.read_text().splitlines(), trainer)
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


def save_tiny_examples(folder: Path) -> None:
    """Examples for eft.*: few words that end in a score or a winner, so that two layers can learn the form.

    Score and winner are spread evenly and follow from nothing: what this model judges means nothing.
    """
    cases = range(60)
    judge = [{"prompt": f"Say {i}.", "response": f"{i}", "rank": 1 + i % 2, "score": i % 6} for i in cases]
    for row in judge:
        row["judgment"] = f"Earned.\nScore: {row['score']}"
    verdict = [{"prompt": f"Say {i}.", "winner": "ab"[i % 2]} for i in cases]
    judgments = {"response": "1", "judgment_a": "Earned.\nScore: 1", "judgment_b": "Earned.\nScore: 2"}
    meta_judge = [
        row | judgments | {"meta_judgment": f"Better.\nWinner: Judgment {row['winner'].upper()}"} for row in verdict
    ]
    responses = {"response_a": "1", "response_b": "2"}
    compare = [
        row | responses | {"comparison": f"Better.\nWinner: Response {row['winner'].upper()}"} for row in verdict
    ]
    for name, rows in {"eft": judge, "meta_judge": meta_judge, "comparisons": compare}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in TEMPLATES.items():
        (folder / f"{name}.txt").write_text(text)


TEMPLATES = {
    "rubric": "From 0 to 5.",
    "judge": "{rubric}\n{prompt}\n{response}\nScore:",
    "meta_judge": "{rubric}\n{prompt}\n{response}\n{judgment_a}\n{judgment_b}\nWinner: Judgment",
    "compare": "{prompt}\n{response_a}\n{response_b}\nWinner: Response",
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    save_tiny_model(folder / "model")
    save_tiny_examples(folder)
