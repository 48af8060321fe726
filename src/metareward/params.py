"""Every knob of params.yaml, typed; load_params.py reads them, and spelling.py the spellings of a type."""

from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

from metareward import spelling

MIN_RIDGE = 1e-6  # below it, rounding would show in the sixth decimal of an Elo

_NUMBER = BeforeValidator(spelling.number)
_WHOLE = BeforeValidator(spelling.whole_number)
_NULL = BeforeValidator(spelling.null)

Fraction = Annotated[StrictFloat, Field(ge=0, le=1), _NUMBER]
Positive = Annotated[StrictFloat, Field(gt=0), _NUMBER]
NotNegative = Annotated[StrictFloat, Field(ge=0), _NUMBER]
NumberOrNull = Annotated[Annotated[StrictFloat, _NUMBER] | None, _NULL]
NotNegativeOrNull = Annotated[NotNegative | None, _NULL]
Count = Annotated[StrictInt, Field(ge=1), _WHOLE]
CountOrNull = Annotated[Count | None, _NULL]
Switch = Annotated[StrictBool, BeforeValidator(spelling.boolean)]
Text = Annotated[StrictStr, Field(min_length=1), BeforeValidator(spelling.word)]
TextOrNull = Annotated[Text | None, _NULL]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TransformersEngine(_Section):
    dtype: Literal["auto", "float32", "bfloat16"]
    batch_tokens: Count  # key-value slots of one batch


class VllmEngine(_Section):
    """Any other key is an option of vLLM's own, by vLLM's name (engines/vllm/options.py)."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    dtype: Literal["auto", "float32", "bfloat16"]

    @property
    def options(self) -> dict[str, Any]:
        """vLLM's own options, in the order of params.yaml."""
        return dict(self.model_extra or {})


class OpenAIEngine(_Section):
    """Nothing here decides a text: the server does."""


class Engine(_Section):
    """What generates text. A stage depends on name, max_context and the section of the engine that is named."""

    name: Literal["transformers", "vllm", "openai"]
    max_context: Count  # tokens of prompt and response together
    transformers: TransformersEngine
    vllm: VllmEngine
    openai: OpenAIEngine


class JudgeEndpoint(_Section):
    """The server of a benchmark's judge, and what it costs; what is null is that of the run, or unknown."""

    base_url: TextOrNull = None  # null: resources.base_url
    key: TextOrNull = None  # the name of the environment variable with its key; null: OPENAI_API_KEY
    dollars_per_million_in: NotNegativeOrNull = None  # tokens of prompts
    dollars_per_million_out: NotNegativeOrNull = None  # tokens written


class Resources(_Section):
    """Where and how safely a run works. No stage depends on it, and no journal: what is there already stays good."""

    base_url: TextOrNull  # openai: of the endpoint
    judges: dict[Text, JudgeEndpoint]  # by the name of the judge's model
    concurrency: Count  # openai: requests in flight
    tensor_parallel: (
        Count  # vllm: GPUs of one copy of the model; as many copies as there are GPUs for work side by side
    )
    ray: Switch  # on the Ray cluster that RAY_ADDRESS names; false: all GPUs of this machine
    workers: CountOrNull  # copies of the model; null: as many as the GPUs hold, else one, or one on each node
    unreadable_after: CountOrNull  # judgments: stop if more than half of the first so many are; null: never
    processes: CountOrNull  # training: on each machine; null: one for each visible GPU, or one where there is none
    launch: TextOrNull  # training: accelerate's configuration file of several processes; null: each holds all (DDP)
    gpu_memory: Annotated[Annotated[StrictFloat, Field(gt=0), _NUMBER] | None, _NULL]  # GB of one GPU; null: unknown
    save_steps: CountOrNull  # training: optimizer steps between two saved states; null: a killed run starts anew
    wait_hours: NotNegative  # for another process that is making just what a stage needs; 0: fail at once


class BenchmarkJudge(_Section):
    """Who grades a benchmark's answers. The settings of its engine are those of section engine."""

    engine: Literal["transformers", "vllm", "openai"]
    model: Text  # embedded, a folder or a hub id; openai: the name that the server knows
    logprobs: Switch  # ask for log-probabilities of the first token, where the benchmark reads them
    chat_template_kwargs: dict[str, Scalar] = {}  # variables of its own template; openai: none


class SamplingSettings(_Section):
    temperature: NotNegative
    top_p: Annotated[StrictFloat, Field(gt=0, le=1), _NUMBER]
    max_tokens: Count


GENERATED_PROMPTS = "data/prompts/generated.jsonl"  # what the stage generate-prompts writes


class GeneratePrompts(SamplingSettings):
    """New prompts in the manner of seed prompts."""

    n: Count  # to write
    seeds: Text  # JSON Lines, as prompts.file
    template: Text  # a text with {shots}
    checkpoint: Literal["seed", "sft"]  # that writes them
    shots: Count  # seed prompts that a request shows
    similarity: Fraction  # ROUGE-L to an earlier prompt above which a new one is dropped
    attempts: Count  # requests for each prompt that is wanted, at most


class Prompts(_Section):
    file: Text  # JSON Lines: prompt and, if known, category
    per_iteration: Count
    generate: GeneratePrompts

    @property
    def generated(self) -> bool:
        """Whether the pool is what the stage generate-prompts writes; else that stage does nothing."""
        return PurePath(self.file) == PurePath(GENERATED_PROMPTS)


class TemplateFiles(_Section):
    """Text files with {placeholders} (prompts.py)."""

    rubric: Text
    judge: Text
    meta_judge: Text
    compare: Text


class Eft(_Section):
    """Examples that teach the judge's format (METHOD §2)."""

    source: Literal["examples", "ranked"]  # of the judge examples: ready-made, or the seed's own judgments
    file: Text  # JSON Lines; examples: prompt, response, judgment, score; ranked: prompt, response, rank
    meta_judge: Text  # JSON Lines: prompt, response, judgment_a, judgment_b, meta_judgment, winner
    compare: Text  # JSON Lines: prompt, response_a, response_b, comparison, winner
    reply: Text  # JSON Lines: prompt, response, as the actor is to answer
    kinds: Annotated[list[Literal["judge", "meta_judge", "compare", "reply"]], Field(min_length=1)]
    n: Count  # ranked: the seed's judgments of each reply

    @property
    def files(self) -> dict[str, str]:
        """Of each key that names a file of examples, the file."""
        return self.model_dump(include={"file", "meta_judge", "compare", "reply"})

    @property
    def unused(self) -> set[str]:
        """The keys of `files` that no kind reads."""
        return set(self.files) - {"file" if kind == "judge" else kind for kind in self.kinds}

    @property
    def seed_judges(self) -> bool:
        """Whether the seed judges the ranked replies of `file`."""
        return "judge" in self.kinds and self.source == "ranked"


class Pattern(_Section):
    """A closing line of the user's own: a regular expression with one group, and a text that must read back."""

    pattern: Text
    example: Text  # a closing line


class ScorePattern(Pattern):
    value: Annotated[StrictFloat, Field(ge=0, le=5), _NUMBER]  # what the example says


class WinnerPattern(Pattern):
    value: Literal["a", "b"]  # what the example says


ScoreFormat = Literal["line", "brackets", "tag", "json", "boxed"] | ScorePattern
WinnerFormat = Literal["line", "brackets", "tag", "json", "boxed", "arena"] | WinnerPattern


class Formats(NamedTuple):
    """The formats of closing lines, by the template that asks for each; read: as `Judge.read`."""

    judge: ScoreFormat
    meta_judge: WinnerFormat
    compare: WinnerFormat
    read: str = "text"


class Samples(SamplingSettings):
    n: Count  # samples of one prompt


class Judge(Samples):
    format: ScoreFormat  # of the line that ends a judgment; the judge template asks for it
    read: Literal[
        "text", "first_token"
    ]  # of what scores means are: those said, or those that the first token might say


class MetaJudge(SamplingSettings):
    format: WinnerFormat  # of the line that ends a verdict; the meta-judge template asks for it


class Lora(_Section):
    """Low-rank adapters, trained in the place of all weights and merged into the checkpoint (Hu et al. 2021)."""

    r: Count  # rank
    alpha: Count  # an adapter's output is scaled by alpha / r
    dropout: Annotated[StrictFloat, Field(ge=0, lt=1), _NUMBER]  # SFT's alone: DPO compares log-probabilities
    targets: Literal["all-linear"] | Annotated[list[Text], Field(min_length=1)]  # the names of modules, or their ends


class Train(_Section):
    """How SFT and DPO hold weights and optimizer. Computing is in bfloat16 where that is fast, on float32 weights."""

    lora: Annotated[Lora | None, _NULL]  # null: all weights are trained
    save_dtype: Literal["float32", "bfloat16"]  # of the checkpoints
    optimizer: Literal["adamw", "adamw_8bit"]


class RewardModel(_Section):
    """A sequence classifier with one output, which scores responses in the judge's place."""

    model: Text  # a folder or a hub id
    revision: TextOrNull = None  # of a hub id: a commit, a tag or a branch; null: the newest
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: Count = 16384  # of a batch, padding included
    max_length: CountOrNull = None  # tokens of prompt and response; longer: no score; null: all it was made for
    chat_template_kwargs: dict[str, Scalar] = {}  # variables of its own template


class Sft(_Section):
    learning_rate: Positive
    min_learning_rate: NotNegative  # the cosine ends here
    batch_size: Count
    micro_batch_size: Count
    epochs: Positive
    max_steps: CountOrNull
    max_length: Count
    gradient_checkpointing: Switch


class Dpo(_Section):
    beta: Positive
    learning_rate: Positive
    batch_size: Count
    micro_batch_size: Count
    epochs: Positive
    max_steps: CountOrNull
    max_length: Count
    cut_texts: Literal["open", "drop"]  # a text cut at max_tokens: without end of turn, or its pair is left out
    gradient_checkpointing: Switch
    keep: Literal["last", "best"]  # best: lowest loss on the held-out pairs
    held_out: Annotated[StrictFloat, Field(ge=0, lt=1), _NUMBER]
    on_empty: Literal["error", "copy"]
    shuffle_labels: Switch  # a control that must not gain: a coin says which text of a pair is the chosen one


class Elo(_Section):
    ridge: Annotated[StrictFloat, Field(ge=MIN_RIDGE), _NUMBER]


class StrongJudge(_Section):
    """A judge that the checkpoints are measured against, on the seed's responses to the held-out prompts."""

    n_prompts: Annotated[StrictInt, Field(ge=0), _WHOLE]  # the first of evaluate.prompts; 0: there is no such judge
    n_responses: Count  # to each prompt, sampled as those of `respond`
    n_judgments: Count  # of each response, of the strong judge and of each checkpoint
    judge: BenchmarkJudge


class Evaluate(_Section):
    prompts: Text
    judged: Text  # JSON Lines: prompt, response, rank; rank 1 is the best
    n_prompts: CountOrNull  # of prompts; null: all of the file
    n_judged_prompts: CountOrNull  # of judged, with all their replies; null: all of the file
    n_judgments: Count
    max_tokens: Count  # of a response
    temperature: NotNegative
    format: WinnerFormat  # of the line that ends a comparison; the compare template asks for it
    referee: Text  # the checkpoint that compares responses: sft, m1, ...
    compare: Literal["verdicts", "scores"]  # its verdicts on both, in both orders, or its judgments of each
    likelihood: Switch  # whether checkpoints say how likely they find the replies of judged
    bootstrap: Count  # resamples of an interval
    strong_judge: StrongJudge


class Benchmark(_Section):
    """What all three public benchmarks have: files are named within benchmarks.folder, and one whose files are not
    there is off."""

    questions: Text
    n: CountOrNull  # of questions, in their order; null: all
    max_tokens: Count  # of an answer
    template: Text  # what the judge is asked: a file of ours, or upstream's own
    max_grade_tokens: Count  # of what the judge writes
    judge: BenchmarkJudge


class AlpacaEval(Benchmark):
    baseline: Text
    difficulty: Text  # of the length-controlled win rate, which is left out where it or `gamed` is not there
    gamed: Text
    temperature: NotNegative  # of answers
    by_category: Switch  # whether the judge sorts the instructions into the categories that the next key's file lists
    categories: Text


class ArenaHard(Benchmark):
    baseline: Text


class MtBench(Benchmark):
    references: Text


class Benchmarks(_Section):
    folder: Text
    alpaca_eval: AlpacaEval
    arena_hard: ArenaHard
    mt_bench: MtBench


class Monitor(_Section):
    limit: NumberOrNull  # null: not watched
    action: Literal["warn", "stop"]  # beyond the limit


class Monitors(_Section):
    """What says that an iteration goes wrong (METHOD §6, Monitors)."""

    readable_judgments: Monitor
    score_at_maximum: Monitor
    readable_verdicts: Monitor
    first_position_wins: Monitor
    actor_length_difference: Monitor
    judge_length_difference: Monitor
    effective_pairs: Monitor
    pairs_in_training: Monitor
    reward_accuracy: Monitor
    response_growth: Monitor


class Report(_Section):
    pairs: CountOrNull  # of each role and iteration; null: all


class Iteration(_Section):
    prev: Text  # the checkpoint that generates this iteration's data and from which training starts
    rho: Literal["balanced"] | Fraction
    train_judge: Switch
    max_chosen_chars: CountOrNull = None
    max_judgment_chars: CountOrNull = None


class Params(_Section):
    seed: Annotated[StrictInt, Field(ge=0), _WHOLE]
    seed_model: Text  # "embedded", a folder, or a hub id
    seed_revision: TextOrNull  # of a hub id: the commit; null: what is there today
    chat_template_kwargs: dict[str, Scalar]  # variables of the chat template: date_string, enable_thinking, ...
    engine: Engine
    resources: Resources
    prompts: Prompts
    templates: TemplateFiles
    eft: Eft
    train: Train
    sft: Sft
    respond: Samples
    judge: Judge
    meta_judge: MetaJudge
    reward_model: Annotated[RewardModel | None, _NULL]  # null: the judge scores responses
    elo: Elo
    dpo: Dpo
    evaluate: Evaluate
    benchmarks: Benchmarks
    monitors: Monitors
    report: Report
    rho: Literal["schedule", "balanced"] | Fraction  # anything but schedule overrides every iteration's own
    checkpoints: list[Text]  # seed, sft and the iterations, in training order
    iterations: dict[str, Iteration]  # none: the seed and its SFT alone

    def decisive(self) -> dict[str, Any]:
        """All values that can change a row, in the order of params.yaml: neither `resources` nor engines not in use."""
        values = self.model_dump(mode="json", exclude={"resources"})
        used = {"name", "max_context", self.engine.name}
        return values | {"engine": {key: value for key, value in values["engine"].items() if key in used}}
