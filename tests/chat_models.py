"""Tokenizers and chat templates of the kinds in use, made after their documentation; vocabularies are small.

Each is a function that returns a `PreTrainedTokenizerFast`; KINDS names them. Three ways of writing blanks occur:
byte-level BPE; SentencePiece's BPE with blanks written by normalizers ("legacy": before every piece of text between
control tokens); and with Metaspace before the first piece alone, or none.
"""

# ruff: noqa: RUF001 (DeepSeek's bars are full-width)

import json
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    value
    for name in ("prompts", "eft")
    for line in (Path(__file__).parents[1] / f"data/samples/{name}.jsonl").read_text().splitlines()
    for value in json.loads(line).values()
    if isinstance(value, str)
]
GPT4_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def special(*names: str, **flags: bool) -> list[AddedToken]:
    return [AddedToken(name, special=True, normalized=False, **flags) for name in names]


def ordinary(*names: str, **flags: bool) -> list[AddedToken]:
    """Added tokens without the flag `special`."""
    return [AddedToken(name, special=False, normalized=False, **flags) for name in names]


@cache
def byte_level_model(words: str | None) -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level_words(words)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, *["a\n\nb"] * 500], trainer)  # line breaks that merge
    return learned(tokenizer)


@cache
def sentencepiece_model(control: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges: unknown, control tokens and bytes come first, as SentencePiece numbers them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    first = ["<unk>", *control, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=1100, special_tokens=first, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return learned(tokenizer)


def learned(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def byte_level_words(words: str | None) -> pre_tokenizers.PreTokenizer:
    if words is None:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Split(Regex(words), "isolated", invert=False)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(added: list[AddedToken], template: str, words: str | None = GPT4_WORDS, nfc: bool = False, **names: str):
    vocabulary, merges = byte_level_model(words)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=words is not None))
    tokenizer.pre_tokenizer = byte_level_words(words)
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    return finished(tokenizer, added, template, **names)


def sentencepiece(added: list[AddedToken], template: str, blanks: str, **names: str):
    """blanks: legacy, first, always or none."""
    control = tuple(token.content for token in added if token.special and token.content.startswith(("<s>", "</s>")))
    vocabulary, merges = sentencepiece_model(control)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if blanks == "legacy":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif blanks == "none":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=blanks, split=False)
    tokenizer.decoder = decoders.Sequence(steps + ([] if blanks == "none" else [decoders.Strip(" ", 1, 0)]))
    return finished(tokenizer, [*special("<unk>"), *added], template, unk_token="<unk>", **names)


def finished(tokenizer: Tokenizer, added: list[AddedToken], template: str, **names: str) -> PreTrainedTokenizerFast:
    tokenizer.add_tokens(added)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.chat_template = template
    return fast


def turns(turn: str, request: str, first: str = "") -> str:
    """A template that writes `turn` for each message and `request` where an answer is asked for."""
    return (
        f"{first}{{% for message in messages %}}{turn}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{request}{{% endif %}}"
    )


def answers(question: str, answer: str, first: str = "", request: str = "") -> str:
    """A template with one form for what users write and another for what assistants wrote."""
    refuse = "{{ raise_exception('this template knows no system turn') }}"
    turn = (
        "{% if message['role'] == 'user' %}"
        + question
        + "{% elif message['role'] == 'assistant' %}"
        + answer
        + "{% else %}"
        + refuse
        + "{% endif %}"
    )
    return turns(turn, request, first)


CHATML = "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
CHATML_REQUEST = "{{ '<|im_start|>assistant\n' }}"
LLAMA3_TURN = (
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
)
LLAMA3_REQUEST = "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"


def llama3():
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    names += [f"<|reserved_special_token_{n}|>" for n in range(250)]
    template = turns(LLAMA3_TURN, LLAMA3_REQUEST, "{{ bos_token }}")
    return byte_level(special(*names), template, bos_token=names[0], eos_token=names[1])


def qwen25():
    added = [*special("<|endoftext|>", "<|im_start|>", "<|im_end|>"), *ordinary("<tool_call>", "</tool_call>")]
    default = (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
        "{% if tools %}{{ 'Answer within <tool_call></tool_call>.' }}{% endif %}"
    )
    template = turns(CHATML, CHATML_REQUEST, default)
    return byte_level(added, template, nfc=True, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def qwen3():
    """Thoughts of past turns go, the last turn always has a block for one, and enable_thinking=false asks for none."""
    added = [*special("<|endoftext|>", "<|im_start|>", "<|im_end|>"), *ordinary("<think>", "</think>")]
    turn = (
        "{% set text = message['content'] %}{% set thought = '' %}"
        "{% if message['role'] == 'assistant' and '</think>' in text %}"
        "{% set thought = text.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\n' }}"
        "{% if message['role'] == 'assistant' and loop.last %}"
        "{{ '<think>\n' + thought + '\n</think>\n\n' + text.lstrip('\n') }}{% else %}{{ text }}{% endif %}"
        "{{ '<|im_end|>\n' }}"
    )
    request = CHATML_REQUEST + (
        "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    )
    return byte_level(added, turns(turn, request), nfc=True, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def llama2():
    template = answers(
        "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}",
        "{{ ' ' + message['content'].strip() + ' ' + eos_token }}",
    )
    return sentencepiece(special("<s>", "</s>"), template, "legacy", bos_token="<s>", eos_token="</s>")


def mistral_01():
    template = answers(
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}",
        "{{ message['content'] + eos_token + ' ' }}",
        "{{ bos_token }}",
    )
    return sentencepiece(special("<s>", "</s>"), template, "legacy", bos_token="<s>", eos_token="</s>")


def mistral_03():
    template = answers(
        "{{ '[INST] ' + message['content'] + '[/INST]' }}",
        "{{ ' ' + message['content'] + eos_token }}",
        "{{ bos_token }}",
    )
    added = special("<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")
    return sentencepiece(added, template, "first", bos_token="<s>", eos_token="</s>")


def gemma():
    """The assistant is called model; runs of line breaks and HTML tags are tokens of their own, without the flag."""
    added = [
        *special("<s>", "</s>", "<start_of_turn>", "<end_of_turn>"),
        *ordinary("\n\n", "\n\n\n", "▁▁", "<b>", "</b>", "<table>"),
    ]
    turn = "{{ '<start_of_turn>%s\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    template = answers(turn % "user", turn % "model", "{{ bos_token }}", "{{ '<start_of_turn>model\n' }}")
    return sentencepiece(added, template, "none", bos_token="<s>", eos_token="</s>")


def phi3():
    """Control tokens strip the white space behind them; the template makes their names of the roles'."""
    added = [
        *special("<s>", "<|endoftext|>"),
        *special("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", rstrip=True),
        *special("</s>", rstrip=True),
    ]
    turn = "{{ '<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}"
    template = turns(turn, "{{ '<|assistant|>\n' }}", "{{ bos_token }}")
    return sentencepiece(added, template, "legacy", bos_token="<s>", eos_token="<|endoftext|>")


def zephyr():
    """What names the roles is no token but text, as in TinyLlama."""
    turn = "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    template = turns(turn, "{{ '<|assistant|>\n' }}")
    return sentencepiece(special("<s>", "</s>"), template, "legacy", bos_token="<s>", eos_token="</s>")


def deepseek_r1():
    """Control tokens with full-width bars; a request opens a thought, and past turns have lost theirs."""
    added = [
        *special("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        *ordinary("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
    ]
    template = answers(
        "{{ '<｜User｜>' + message['content'] }}",
        "{% set text = message['content'] %}{% if '</think>' in text %}{% set text = text.split('</think>')[-1] %}"
        "{% endif %}{{ '<｜Assistant｜>' + text + '<｜end▁of▁sentence｜>' }}",
        "{{ bos_token }}",
        "{{ '<｜Assistant｜><think>\n' }}",
    )
    return byte_level(added, template, bos_token=added[0].content, eos_token=added[1].content)


def falcon():
    """A GPT-2-like tokenizer to which somebody added ChatML's control tokens without the flag."""
    added = [*special("<|endoftext|>"), *ordinary("<|im_start|>", "<|im_end|>"), *ordinary("  ", "    ")]
    return byte_level(added, turns(CHATML, CHATML_REQUEST), words=None, eos_token="<|endoftext|>")


def metaspace_always():
    added = [*special("<s>", "</s>"), *special("<turn>", lstrip=True, rstrip=True)]
    template = turns(
        "{{ '<turn> ' + message['role'] + ': ' + message['content'] + ' </s>' }}", "{{ '<turn> assistant:' }}"
    )
    return sentencepiece(added, template, "always", bos_token="<s>", eos_token="</s>")


def unigram():
    """A Unigram model whose vocabulary holds the control tokens, so that their letters lead to them; NFKC before it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = ["<unk>", "<s>", "</s>", "<user>", "<bot>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=names, unk_token="<unk>", initial_alphabet=list("<>/"), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    template = answers(
        "{{ '<user>' + message['content'] }}", "{{ '<bot>' + message['content'] + '</s>' }}", request="<bot>"
    )
    return finished(tokenizer, special(*names), template, unk_token="<unk>", eos_token="</s>")


def single_word():
    """Control tokens that must stand alone, and are looked for after normalization."""
    added = [AddedToken(name, single_word=True, normalized=True, special=True) for name in ("USER", "BOT", "STOP")]
    turn = "{{ ('USER' if message['role'] == 'user' else 'BOT') + ' ' + message['content'] + ' STOP\n' }}"
    return byte_level(added, turns(turn, "{{ 'BOT ' }}"), words=None, nfc=True, eos_token="STOP")


KINDS = {
    make.__name__: make
    for make in (
        llama3,
        qwen25,
        qwen3,
        llama2,
        mistral_01,
        mistral_03,
        gemma,
        phi3,
        zephyr,
        deepseek_r1,
        falcon,
        metaspace_always,
        unigram,
        single_word,
    )
}
