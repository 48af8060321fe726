"""What a model of a given shape takes: memory of a GPU in training and generation, and disk. Nothing is loaded.

All is counted in bytes, a GB being 1e9 of them. Weights, gradients, optimizer states and files are counted exactly;
activations are those that PyTorch keeps for the backward pass (tests/test_memory.py compares; docs/gpus.md says how
near the sum comes to what a GPU measured), and what comes on top (CUDA itself, fragments) is not counted.
"""

from dataclasses import dataclass
from typing import Any

from metareward.params import Dpo, Lora, Params, Sft

KNOWN = ("llama", "mistral", "qwen2", "qwen3")  # architectures whose parameters are counted here
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
UTILIZATION = 0.9  # of a GPU, by vLLM
LIKELIHOOD_TOKENS = 4096  # of one forward pass: training/likelihood.py
ADAPTER = Lora(r=16, alpha=32, dropout=0.0, targets="all-linear")  # that of the hint in profiles


@dataclass(frozen=True)
class Shape:
    """A decoder of equal layers, as its config.json describes it."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool  # whether the output layer is the embeddings
    biases: frozenset[str]  # linear modules that have one
    head_norms: bool  # of queries and keys
    stored: int  # bytes of a weight in its files

    def linear(self) -> dict[str, tuple[int, int]]:
        """The linear modules of a layer: how many go in and how many come out."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "self_attn.q_proj": (self.hidden, queries),
            "self_attn.k_proj": (self.hidden, keys),
            "self_attn.v_proj": (self.hidden, keys),
            "self_attn.o_proj": (queries, self.hidden),
            "mlp.gate_proj": (self.hidden, self.intermediate),
            "mlp.up_proj": (self.hidden, self.intermediate),
            "mlp.down_proj": (self.intermediate, self.hidden),
        }

    @property
    def of_layer(self) -> int:
        """Parameters of a layer."""
        linear = sum(a * b + (b if name in self.biases else 0) for name, (a, b) in self.linear().items())
        return linear + 2 * self.hidden + (2 * self.head_size if self.head_norms else 0)

    @property
    def of_embeddings(self) -> int:
        """Parameters of the embeddings, and of the output layer where it has its own."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        return self.layers * self.of_layer + self.of_embeddings + self.hidden

    def of_adapter(self, lora: Lora) -> int:
        """Parameters of the adapters of the modules that are targeted."""
        return sum(
            lora.r * (a + b)
            for layer in range(self.layers)
            for name, (a, b) in self.linear().items()
            if lora.targets == "all-linear"
            or any(f".model.layers.{layer}.{name}".endswith(f".{target}") for target in lora.targets)
        )

    def kept_by_layer(self, padded: int) -> int:
        """Bytes of a token that a layer keeps for its backward pass, in bfloat16 on a float32 stream of states.

        Of the stream itself 16 bytes a value (each norm's input and output); bfloat16: five inputs of linear modules,
        queries and outputs of attention, keys and values, four states inside the MLP; a float32 for each head and norm.
        padded: the length of rows of which some are filled up; 0: none is. A mask stands between their tokens then, and
        keys and values are repeated for each head of queries.
        """
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        stream = (16 + 2 * 4) * self.hidden
        attended = 2 * (2 * queries if padded else 2 * keys) + 2 * padded
        return stream + 2 * (3 * queries + 4 * self.intermediate) + attended + 4 * (self.heads + 2)

    @property
    def cached_by_token(self) -> int:
        """Values of a token in the key-value cache."""
        return 2 * self.layers * self.kv_heads * self.head_size


def shape_of(config: dict[str, Any]) -> Shape | None:
    """The shape in a config.json; None of an architecture that is not known here."""
    kind = config.get("model_type")
    if kind not in KNOWN:
        return None
    linear = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    biases = linear[:3] if kind == "qwen2" else linear if config.get("attention_bias") else []
    if config.get("mlp_bias"):
        biases = [*biases, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    return Shape(
        layers=config["num_hidden_layers"],
        hidden=hidden,
        intermediate=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or hidden // heads,
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        biases=frozenset(biases),
        head_norms=kind == "qwen3",
        stored=SIZES.get(str(config.get("dtype") or config.get("torch_dtype")), 4),
    )


@dataclass(frozen=True)
class Training:
    """Bytes of one GPU that trains. The reference model takes none: its log-probabilities are there before step one,
    computed by the very weights that are then trained, or by the model without its adapters."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


def training(shape: Shape, params: Params, settings: Sft | Dpo, processes: int, sharded: bool) -> Training:
    """What SFT or DPO takes of each GPU with a micro-batch of rows of max_length tokens.

    sharded: whether the processes share weights, gradients and optimizer states out among them (FSDP), or each
    holds all of them (DDP).
    """
    lora, eight_bits = params.train.lora, params.train.optimizer == "adamw_8bit"
    trained = shape.of_adapter(lora) if lora else shape.parameters
    share = processes if sharded else 1
    gathered = 4 * (2 * shape.of_layer + shape.of_embeddings) if sharded and processes > 1 else 0
    buckets = 2 if processes > 1 and not sharded else 1  # DDP sends a copy of the gradients
    # bitsandbytes leaves the states of embeddings in 32 bits
    exact = shape.vocabulary * shape.hidden if eight_bits and not lora else 0
    states = 2 * (trained - exact) + 8 * exact if eight_bits else 8 * trained
    return Training(
        weights=(4 * shape.parameters + (4 * trained if lora else 0)) // share + gathered,
        gradients=4 * trained * buckets // share,
        optimizer=states // share,
        activations=activations(shape, params, settings, sharded),
    )


def activations(shape: Shape, params: Params, settings: Sft | Dpo, sharded: bool) -> int:
    """Bytes kept for the backward pass: states of tokens, and the weights' copies in bfloat16 that compute them."""
    texts = settings.micro_batch_size * (2 if isinstance(settings, Dpo) else 1)
    tokens = texts * settings.max_length
    kept_by_layer = shape.kept_by_layer(settings.max_length if texts > 1 else 0)
    linear = sum(a * b for a, b in shape.linear().values())
    ends = tokens * (8 + 4) * shape.hidden  # the last norm, and the gradient of what goes into the output layer
    output = 0 if params.train.lora else 4 * shape.vocabulary * shape.hidden  # its gradient, before it is added up
    if settings.gradient_checkpointing:
        whole = not params.train.lora and not sharded  # autocast keeps the copies of trained weights for a forward pass
        copies = 2 * linear * (shape.layers if whole else 1)
        kept = tokens * (4 * shape.hidden * shape.layers + kept_by_layer)
    else:
        copies, kept = 2 * linear * shape.layers, tokens * kept_by_layer * shape.layers
    return kept + copies + ends + output


@dataclass(frozen=True)
class Generation:
    """Bytes of one GPU that generates.

    weights: with a float32 copy of the output layer where first tokens are read. context: of the key-value cache of one
    request of max_context tokens.
    """

    weights: int
    context: int
    cache: int  # what the engine reserves; vLLM takes what is left of its share of the GPU, a context at least

    @property
    def total(self) -> int:
        return self.weights + self.cache


def generation(shape: Shape, params: Params) -> Generation | None:
    """What the engine takes of each GPU; None for one that is not here."""
    engine = params.engine
    if engine.name == "openai":
        return None
    dtype = engine.vllm.dtype if engine.name == "vllm" else engine.transformers.dtype
    size = 4 if dtype == "float32" else 2  # auto: bfloat16 on a GPU; vLLM takes float32 checkpoints so, too
    parts = params.resources.tensor_parallel if engine.name == "vllm" else 1
    token = shape.cached_by_token * size
    context = engine.max_context * token // parts
    cache = context if engine.name == "vllm" else max(engine.transformers.batch_tokens, engine.max_context) * token
    reads_first = engine.name == "transformers" and size == 2 and params.judge.read == "first_token"
    head = 4 * shape.vocabulary * shape.hidden if reads_first else 0
    return Generation(size * shape.parameters // parts + head, context, cache)


def likelihood(shape: Shape) -> int:
    """Bytes of the one GPU on which a checkpoint says how likely it finds replies: weights and logits, in float32."""
    return 4 * (shape.parameters + LIKELIHOOD_TOKENS * shape.vocabulary)


@dataclass(frozen=True)
class Disk:
    """Bytes of files. state: a whole training state, of which two can lie there while one is written; best: weights of
    the best evaluation, likewise; trained: the weights at the end of a stage, before they are a checkpoint."""

    seed: int
    checkpoint: int
    state: int
    best: int
    trained: int

    @property
    def work(self) -> int:
        """The most that lies in the folder of a training stage at once."""
        return max(2 * self.state + 2 * self.best, self.state + self.best + self.trained)


def disk(shape: Shape, params: Params) -> Disk:
    """What checkpoints and training states take."""
    lora = params.train.lora
    trained = shape.of_adapter(lora) if lora else shape.parameters
    exact = shape.vocabulary * shape.hidden if not lora else 0
    eight_bits = params.train.optimizer == "adamw_8bit"
    states = 2 * (trained - exact) + 8 * exact if eight_bits else 8 * trained
    return Disk(
        seed=shape.stored * shape.parameters,
        checkpoint=SIZES[params.train.save_dtype] * shape.parameters,
        state=4 * trained + states if params.resources.save_steps else 0,
        best=4 * trained if params.dpo.keep == "best" else 0,
        trained=4 * trained,
    )


def helps(shape: Shape, params: Params, section: str, processes: int, sharded: bool) -> tuple[str, int]:
    """The one change of params that makes a training stage smallest, and the bytes of a GPU that it then takes."""
    settings: Sft | Dpo = getattr(params, section)
    found = {}

    def change(words: str, new: Params, shared: bool = sharded) -> None:
        found[words] = training(shape, new, getattr(new, section), processes, shared).total

    for key, value in (("gradient_checkpointing", True), ("micro_batch_size", 1)):
        if getattr(settings, key) != value:
            new = params.model_copy(update={section: settings.model_copy(update={key: value})})
            change(f"{section}.{key}: {str(value).lower()}", new)
    if not params.train.lora:
        adapted = params.train.model_copy(update={"lora": ADAPTER})
        written = "{r: 16, alpha: 32, dropout: 0.0, targets: all-linear}"
        change(f"train.lora: {written}", params.model_copy(update={"train": adapted}))
    if processes > 1 and not sharded:
        change("resources.launch: accelerate/fsdp2.yaml", params, True)
    if not found:
        shorter = settings.model_copy(update={"max_length": settings.max_length // 2})
        change(f"{section}.max_length: {shorter.max_length}", params.model_copy(update={section: shorter}))
    return min(found.items(), key=lambda item: item[1])
