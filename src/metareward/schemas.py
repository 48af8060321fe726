"""The schemas of the tables: what a row is, each column with its type and what it holds, and the key.

Everything that shows a table to people takes its words from here: `metareward sql --schema`, docs/queries.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SCORED = "scored"  # the finish reason of a reward model's score: nothing was written
MESSAGES = "Messages"  # a chat: a list of {role, content}


@dataclass(frozen=True)
class Schema:
    """about: what a row is; columns: name -> (type, what it holds); key: sort order, unique.

    A type is String, Int64, Float64, Boolean, Strings (a list) or Messages; with ? the column may hold null.
    """

    about: str
    columns: Mapping[str, tuple[str, str]]
    key: tuple[str, ...]


_PROMPT_ID = {"prompt_id": ("String", "the prompt; a hash of what it holds, as every id")}
_THOUGHT = {"thought": ("String?", "what stood between <think> tags; null: nothing")}
_END = {
    "n_tokens": ("Int64", "tokens that were generated"),
    "finish_reason": (
        "String",
        "stop; length: cut; too_long: no room, so nothing was written; scored: by a reward model",
    ),
}


def _invalid(what: str) -> dict[str, tuple[str, str]]:
    return {"invalid_reason": ("String?", f"why no {what} can be read; null: one can")}


_PAIR = {
    **_PROMPT_ID,
    "pair_id": ("String", "the pair"),
    "messages": (MESSAGES, "the chat that the texts answer"),
    "chosen": ("String", "the text that training prefers"),
    "rejected": ("String", "the other text"),
    "chosen_id": ("String", "its response or judgment"),
    "rejected_id": ("String", "the same of the rejected text"),
    "chosen_finish": ("String", "the finish_reason of the chosen text"),
    "rejected_finish": ("String", "the same of the rejected text"),
}
_LENGTHS = {
    "chosen_chars": ("Int64", "characters of the chosen text"),
    "rejected_chars": ("Int64", "characters of the rejected text"),
    "margin": ("Float64", "the chosen text's value minus the rejected one's"),
}
_INTERVAL = {
    "ci_low": ("Float64?", "lower end of the 95% interval"),
    "ci_high": ("Float64?", "upper end of the 95% interval"),
}
_CHECKPOINT = {"checkpoint": ("String", "seed, sft, m1, ...")}
_QUESTION = {
    "benchmark": ("String", "alpaca_eval, arena_hard or mt_bench"),
    "question_id": ("String", "the question, as upstream names it"),
}

SCHEMAS: dict[str, Schema] = {
    "prompts": Schema(
        "a prompt of an iteration",
        {
            **_PROMPT_ID,
            "prompt": ("String", "its text"),
            "source": ("String", "its category, or the name of its file"),
        },
        ("prompt_id",),
    ),
    "new_prompts": Schema(
        "a prompt that a checkpoint wrote for the pool, or a text that came to nothing",
        {
            "request_id": ("String", "the request: which seed prompts were shown"),
            "position": ("Int64", "from 0, in the order of the requests"),
            "prompt": ("String?", "the prompt; null: none can be read"),
            **_THOUGHT,
            "dropped": ("String?", "why it is not in the pool; null: it is"),
            "similar_to": ("String?", "dropped for its likeness: the earlier prompt"),
            "similarity": ("Float64?", "their ROUGE-L"),
            **_END,
        },
        ("position",),
    ),
    "responses": Schema(
        "a response of a checkpoint to a prompt",
        {
            **_PROMPT_ID,
            "response_id": ("String", "the response"),
            "sample": ("Int64", "which of the prompt's responses, from 0"),
            "response": ("String?", "its text; null: never written"),
            **_THOUGHT,
            "n_chars": ("Int64", "characters of the text"),
            **_END,
            "duplicate_of": ("String?", "the first identical response of the prompt; null: this is the first"),
        },
        ("prompt_id", "sample"),
    ),
    "judgments": Schema(
        "a judgment of a response",
        {
            **_PROMPT_ID,
            "response_id": ("String", "the response that is judged"),
            "judgment_id": ("String", "the judgment"),
            "sample": ("Int64", "which of the response's judgments, from 0"),
            "judgment": ("String?", "its text; null: never written, or a reward model gave the score"),
            **_THOUGHT,
            "score": (
                "Float64?",
                "the score that it gives, 0 to 5 points, or a reward model's; null: unreadable",
            ),
            "expected": (
                "Float64?",
                "judge.read first_token: the mean of the scores by the first token's probabilities; null: not so read",
            ),
            **_invalid("score"),
            "n_chars": ("Int64", "characters of the text"),
            **_END,
        },
        ("prompt_id", "response_id", "sample"),
    ),
    "scores": Schema(
        "a response with the statistics of its readable scores",
        {
            **_PROMPT_ID,
            "response_id": ("String", "the response"),
            "sample": ("Int64", "its index among the prompt's responses, the last tie-breaker of pair selection"),
            "n_chars": ("Int64", "characters of the response"),
            "mean": ("Float64?", "mean score, or mean expected score, in points; null: no readable score"),
            "variance": ("Float64?", "population variance of the scores, in points squared"),
            "n_valid": ("Int64", "readable scores"),
            "n_distinct": ("Int64", "textually different judgments with a readable score"),
        },
        ("prompt_id", "sample"),
    ),
    "actor_pairs": Schema(
        "a preference pair of responses",
        {
            **_PAIR,
            "chosen_score": ("Float64", "mean score of the chosen response, in points"),
            "rejected_score": ("Float64", "the same of the rejected response"),
            **_LENGTHS,
        },
        ("prompt_id",),
    ),
    "judge_pairs": Schema(
        "a preference pair of judgments of one response",
        {
            **_PAIR,
            "response_id": ("String", "the response that both judge"),
            "chosen_elo": ("Float64", "Elo of the chosen judgment, in natural logarithms"),
            "rejected_elo": ("Float64", "the same of the rejected judgment"),
            **_LENGTHS,
        },
        ("prompt_id",),
    ),
    "no_pairs": Schema(
        "a prompt that gave no pair in a role",
        {
            **_PROMPT_ID,
            "role": ("String", "actor, judge"),
            "reason": ("String", "why there is none (docs/method.md)"),
        },
        ("prompt_id",),
    ),
    "length_control": Schema(
        "the rho with which an iteration's actor pairs were selected",
        {
            "rho": ("Float64", "how far a score may lie from the extreme, as a share of the prompt's range"),
            "set_by": ("String", "params; balanced (rho: balanced); least_difference (the same, but no rho balances)"),
        },
        ("rho",),
    ),
    "choices": Schema(
        "the response of a prompt whose judgments go into battle, or why there is none",
        {
            **_PROMPT_ID,
            "response_id": ("String?", "the response; null: none"),
            "variance": ("Float64?", "variance of its scores, in points squared"),
            "n_tied": ("Int64", "responses that shared the highest variance"),
            "reason": ("String?", "why there is none; null: there is one"),
        },
        ("prompt_id",),
    ),
    "battles": Schema(
        "a battle: the meta-judge's verdict on two judgments of a response, in one order",
        {
            **_PROMPT_ID,
            "response_id": ("String", "the response that both judge"),
            "battle_id": ("String", "the battle"),
            "judgment_a": ("String", "the judgment that is shown first"),
            "judgment_b": ("String", "the judgment that is shown second"),
            "meta_judgment": ("String?", "the verdict's text; null: never written"),
            **_THOUGHT,
            "winner": ("String?", "a, b, or null: a tie or an unreadable verdict"),
            **_invalid("winner"),
            **_END,
        },
        ("prompt_id", "response_id", "judgment_a", "judgment_b"),
    ),
    "elo": Schema(
        "a judgment that was in battle, with its Elo",
        {
            **_PROMPT_ID,
            "response_id": ("String", "the response that is judged"),
            "judgment_id": ("String", "the judgment"),
            "elo": ("Float64", "the meta-reward, in natural logarithms, mean 0 over a response's judgments"),
            "wins_first": ("Int64", "battles won where it was shown first"),
            "wins_second": ("Int64", "battles won where it was shown second"),
            "n_battles": ("Int64", "decided battles that it was in"),
            "ridge": ("Float64", "ridge of the fit; 0: the likelihood has a finite maximiser of its own"),
        },
        ("prompt_id", "response_id", "judgment_id"),
    ),
    "eft": Schema(
        "an example that teaches the judge's format",
        {
            "example_id": ("String", "the example"),
            "kind": ("String", "judge, meta_judge, compare, reply"),
            "messages": (MESSAGES, "the chat that the target answers"),
            "target": ("String", "the text that SFT teaches"),
            "score": ("Float64?", "kind judge: the score that the target gives, in points"),
        },
        ("example_id",),
    ),
    "reply_likelihoods": Schema(
        "how likely a checkpoint finds a ranked human reply to a held-out prompt",
        {
            **_PROMPT_ID,
            "response_id": ("String", "the reply"),
            "logprob": ("Float64", "natural logarithm of its probability, its end of turn included"),
            "n_tokens": ("Int64", "tokens of it, its end of turn included"),
        },
        ("prompt_id", "response_id"),
    ),
    "comparisons": Schema(
        "a referee's verdict on the responses of two models to a held-out prompt",
        {
            **_PROMPT_ID,
            "model_first": ("Boolean", "whether the checkpoint's response was shown first"),
            "comparison": ("String?", "the verdict's text; null: never written"),
            **_THOUGHT,
            "winner": ("String?", "model, baseline, or null: a tie or an unreadable verdict"),
            **_invalid("winner"),
            **_END,
        },
        ("prompt_id", "model_first"),
    ),
    "questions": Schema(
        "a question of a public benchmark that is on",
        {
            **_QUESTION,
            "position": ("Int64", "from 0, in upstream's order"),
            "category": ("String?", "its category"),
            "turns": ("Strings", "what the user says, turn by turn"),
            "baseline": ("String?", "the baseline's answer"),
            "references": ("Strings?", "right answers that the judge is shown, one a turn"),
        },
        ("benchmark", "question_id"),
    ),
    "answers": Schema(
        "a checkpoint's answer to a question of a public benchmark",
        {
            **_QUESTION,
            "turn": ("Int64", "1 or 2"),
            "answer_id": ("String", "the answer"),
            "answer": ("String?", "its text; null: never written"),
            **_THOUGHT,
            "n_chars": ("Int64", "characters of the text"),
            **_END,
        },
        ("benchmark", "question_id", "turn"),
    ),
    "grades": Schema(
        "what a benchmark's judge says of a checkpoint's answer",
        {
            **_QUESTION,
            "part": ("Int64", "alpaca_eval: 1; arena_hard: game 1 or 2; mt_bench: turn 1 or 2"),
            "judge": ("String", "the judge's model"),
            "model_first": ("Boolean?", "whether the model's answer stood before the baseline's"),
            "grade": ("String?", "what the judge wrote"),
            **_THOUGHT,
            "label": ("String?", "alpaca_eval: m or M; arena_hard: A>>B, A>B, A=B, B>A or B>>A"),
            "value": ("Float64?", "alpaca_eval: preference in [1, 2], 2: the model's answer; mt_bench: rating"),
            "how": ("String", "logprobs or text; same_output: a tie of which nobody was asked"),
            **_invalid("grade"),
            **_END,
        },
        ("benchmark", "question_id", "part"),
    ),
    "categories": Schema(
        "the category of an AlpacaEval instruction, by its judge",
        {
            "question_id": ("String", "the instruction, as upstream names it"),
            "category": ("String?", "its category; null: unreadable"),
            "text": ("String?", "what the judge wrote"),
            **_THOUGHT,
            **_invalid("category"),
            "judge": ("String", "the judge's model"),
            **_END,
        },
        ("question_id",),
    ),
    "training_steps": Schema(
        "an optimizer step of a training",
        {
            "step": ("Int64", "the step, from 1"),
            "epoch": ("Float64", "epochs seen so far"),
            "loss": ("Float64", "loss, in nats: SFT per target token, DPO per pair"),
            "learning_rate": ("Float64", "the learning rate"),
            "grad_norm": ("Float64", "norm of the gradient before clipping"),
            "reward_accuracy": ("Float64?", "DPO: share of the step's pairs whose chosen text has the higher reward"),
            "reward_margin": ("Float64?", "DPO: mean reward of chosen minus rejected"),
        },
        ("step",),
    ),
    "results": Schema(
        "a metric of a checkpoint on held-out prompts or a public benchmark",
        {
            **_CHECKPOINT,
            "benchmark": ("String", "held_out, or the public benchmark"),
            "metric": ("String", "the metric"),
            "value": ("Float64?", "its value; null: there is nothing that it could be of"),
            **_INTERVAL,
            "n": ("Int64", "what the value is of: prompts, pairs, judgments"),
            "referee": ("String?", "who judged; null: nobody had to, or the checkpoint itself"),
        },
        ("checkpoint", "benchmark", "metric"),
    ),
    "outcomes": Schema(
        "what a held-out prompt brings to a metric, whose value is sum(total) / sum(n)",
        {
            **_CHECKPOINT,
            "metric": ("String", "the metric"),
            "referee": ("String?", "who judged; null: nobody had to, or the checkpoint itself"),
            **_PROMPT_ID,
            "total": ("Float64", "sum over the prompt's cases"),
            "n": ("Int64", "the prompt's cases"),
        },
        ("checkpoint", "metric", "referee", "prompt_id"),
    ),
    "differences": Schema(
        "a checkpoint's value minus another one's, on the same prompts",
        {
            **_CHECKPOINT,
            "other": ("String", "the checkpoint that is subtracted"),
            "metric": ("String", "the metric"),
            "referee": ("String?", "who judged; null: nobody had to, or the checkpoint itself"),
            "value": ("Float64?", "the difference"),
            **_INTERVAL,
            "n": ("Int64", "prompts"),
        },
        ("checkpoint", "other", "metric", "referee"),
    ),
    "judge_bias": Schema(
        "which of two judgments a meta-judge prefers",
        {
            "meta_judge": ("String", "the checkpoint that decided"),
            "battles": ("String", "the iteration that they belong to, or held_out"),
            "preference": ("String", "higher_score, first_position"),
            "difference": ("String", "of the two scores, in points: all, 0, 0-1 (above 0, at most 1), ... 4-5"),
            "n": ("Int64", "decided battles"),
            "share": ("Float64?", "share of them that went so"),
            **_INTERVAL,
        },
        ("meta_judge", "battles", "preference", "difference"),
    ),
    "monitors": Schema(
        "a figure of an iteration, or of the checkpoint that it trains, beside its limit",
        {
            "monitor": ("String", "which figure (docs/method.md, Monitors)"),
            "value": ("Float64?", "the figure; null: there is nothing to measure"),
            "limit": ("Float64", "as params say"),
            "direction": ("String", "above, below: which side of the limit is bad"),
            "action": ("String", "beyond the limit: warn, stop"),
            "passed": ("Boolean?", "whether the value is not beyond the limit; null of a null value"),
            "look": ("String", "the command that shows more"),
        },
        ("monitor",),
    ),
    "score_distribution": Schema(
        "a point of the distribution of the scores that a checkpoint gives as a judge",
        {
            **_CHECKPOINT,
            "kind": ("String", "histogram: the share in a bin of half a point; density: Gaussian, per point"),
            "score": ("Float64", "the middle of the bin; the place of the density"),
            "value": ("Float64?", "share or density; null: of scores that are all equal there is no density"),
        },
        ("checkpoint", "kind", "score"),
    ),
}
