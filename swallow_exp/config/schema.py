"""One dataclass per conf group, in the order of conf/train.yaml, unit in each name. Types only: numbers live in conf/.

`null` means off. Config.of(plain dict) refuses unknown keys and wrong types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from swallow_exp.artefact.units import token_marks


@dataclass
class BaseModelConfig:
    """The model that is trained further: weights by path, or a random initialisation of the stated shape."""

    name: str = "???"
    path: str | None = None  # Hugging Face folder or hub name; null = random initialisation
    revision: str | None = None  # of a hub name
    tokenizer: str | None = None  # SentencePiece model; null = tokenizer.model beside the weights
    num_pieces: int = 0  # of the base tokenizer; only for arithmetic before it has been read
    hidden_size: int = 0
    intermediate_size: int = 0
    num_layers: int = 0
    num_heads: int = 0
    num_kv_heads: int = 0
    max_position_embeddings: int = 4096
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02  # standard deviation of a random initialisation


@dataclass
class VocabularyConfig:
    """The tokenizer: the base one, the base one expanded, or one trained from scratch (only for random models)."""

    name: str = "???"
    method: str = "base"  # base | expand | scratch
    vocab_size: int | None = None  # pieces SentencePiece trains (before filtering, for expand)
    language: str | None = None  # language whose documents train the pieces; null = every document source
    segmenter: str = "none"  # mecab | whitespace | none
    normalization: str = "none"  # none | nfkc, inside the tokenizer's own normaliser
    scripts: list[str] = field(default_factory=list)  # Unicode scripts an added piece may have; empty = any
    extra_characters: str = ""  # further characters an added piece may have (the long-vowel mark)
    required_characters: str = ""  # scratch: single characters that must be pieces
    multiple_of: int = 8
    init: str = "subword_mean"  # how embedding and head rows of added pieces start; one of fields.VOCABULARY_INITS
    max_training_bytes: int | None = None  # text sampled for training pieces; null = all
    processes: int = 1  # segmentation workers; never changes the result


@dataclass
class SourceConfig:
    """A named corpus: where its text is and how to read it."""

    name: str = "???"
    language: str = "???"  # en, ja, ...; "en-ja" for pairs
    kind: str = "documents"  # documents | pairs
    files: list[str] = field(default_factory=list)  # globs, relative to paths.data; or "miniature:<part>"
    text_field: str = "text"
    id_field: str | None = None  # null = file name and line number
    normalization: str = "none"  # none | nfkc, applied to the text itself
    dataset: str | None = None  # a dataset of the Hugging Face hub (owner/name) in place of files; needs paths.network to be built
    dataset_config: str | None = None  # which of its configs; null = the only one
    dataset_split: str = "train"
    dataset_revision: str | None = None  # the commit, 40 letters; required with dataset
    heldout_fraction: float = 0.01  # share of documents kept away from training, by hash of the id
    max_documents: int | None = None
    license: str | None = None
    homepage: str | None = None


@dataclass
class PartConfig:
    """What one source gets of a mixture: exactly one of share, tokens, full and fill."""

    share: float | None = None  # of the whole mixture (all that is not parallel), not of its group
    tokens: int | None = None  # positions, under the run's tokenizer
    full: bool = False  # every token it has, `epochs` times
    epochs: int = 1  # with full
    fill: bool = False  # what the others of its group leave


@dataclass
class GroupConfig:
    """What several sources get together: exactly one of share, tokens and fill."""

    share: float | None = None
    tokens: int | None = None
    fill: bool = False
    sources: dict[str, PartConfig] = field(default_factory=dict)


@dataclass
class MixtureConfig:
    """Which sources, in which shares: `weights` that sum to 1, or `groups`. Both live in mixture/*.yaml alone."""

    name: str = "???"
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)  # document sources only
    groups: dict[str, GroupConfig] = field(default_factory=dict)  # document sources only; solved for each tokenizer
    parallel_source: str | None = None  # the pairs that `parallel=...` levels use
    max_repetition: float = 4.0  # planned / available above this is refused
    attention: str = "packed"  # packed: across the documents of a sequence | document: inside each, positions restart


@dataclass
class ParallelConfig:
    """How the parallel corpus enters training (paper 5.2, Table 8)."""

    name: str = "???"
    format: str | None = None  # next_token_prediction | translation_instruction; null = not used
    order: str | None = None  # mixed | two_staged
    epochs: int = 1  # the whole corpus, this many times
    separator: str = " "
    instruction_ja_en: str = ""  # translation_instruction only
    instruction_en_ja: str = ""


@dataclass
class BudgetConfig:
    """How long, in which count, and where checkpoints fall (in the same count)."""

    name: str = "???"
    tokens: int = 0
    checkpoint_every_tokens: int = 0
    final_checkpoints: int = 0  # this many more just before the end: how much scores move between them is noise (arXiv 2508.13144)
    final_checkpoint_every_tokens: int | None = None  # apart from each other and from the end
    counts: str = "trained_tokens"  # trained_tokens: loss-bearing targets | positions: all targets, prompts of instructions too

    def marks(self) -> list[int]:
        """Where checkpoints fall, token 0 and the end included."""
        return token_marks(self.tokens, self.checkpoint_every_tokens, self.final_checkpoints, self.final_checkpoint_every_tokens)


@dataclass
class OptimConfig:
    """The recipe of one optimizer step (paper 3.1)."""

    name: str = "???"
    lr_peak: float = 0.0
    lr_final_ratio: float | None = 0.0  # last rate / lr_peak; exactly one of this and lr_final is set, the other null
    lr_final: float | None = None  # last rate itself
    warmup_steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    sequence_length: int = 0
    global_batch_sequences: int = 0


@dataclass
class NumericsConfig:
    """Precision, determinism and what happens when numbers go wrong; identity where it changes the numbers of a finished run."""

    name: str = "???"
    precision: str = "32-true"  # 32-true | bf16-mixed | bf16-master: model/load_model.py says what each means
    deterministic: bool = True
    # Updates left out because loss or gradient was not finite; one more ends the run. Any limit that lets a run finish gives it
    # the same numbers, so these are not identity, and a stopped run continues under a higher one.
    max_skipped_updates: int = 10  # of a run
    max_skipped_in_a_row: int = 3
    stop_at_loss_spike: bool = False  # false = a warning; not identity for the same reason
    skip_loss_spikes: bool = False  # leave their updates out, within the limits above


@dataclass
class StrategyConfig:
    """How one model is spread over processes; never identity."""

    name: str = "???"
    data_parallel: int = 1  # ways a step's sequences are shared; processes = data_parallel x tensor_parallel
    replicas: int = 1  # whole copies of the model among them (hybrid sharding); data_parallel / replicas processes shard one copy
    tensor_parallel: int = 1  # processes that share each matrix and each sequence; inside one node
    activation_checkpointing: str = "none"  # none | selective | full: which activations are computed again
    attention: str = "auto"  # auto | sdpa | eager | flex | flash_attention_2
    kernels: str = "torch"  # torch | liger: fused norms, SwiGLU, rotary embedding and loss (extra gpu)
    compile: bool = False  # torch.compile of each decoder layer
    loss_chunk_positions: int | None = None  # logits of so many positions at once; null = of a whole micro-batch
    pad_vocabulary_multiple: int = 1  # embedding and head get rows up to a multiple of this, to shard evenly; never predicted or exported
    note: str = ""  # shown by `swallow show`: where a level comes from


@dataclass
class SchedulerConfig:
    """What a job asks a cluster's scheduler for (submitit, `swallow scripts`); one job a cell."""

    queue: str | None = None  # Slurm's partition, the queue of PBS and UGE
    account: str | None = None  # who pays: Slurm's account, the project of PBS and UGE
    hours: float = 24.0  # time limit of a job; a cell that needs more is saved and queued again
    notice_seconds: int = 300  # how long before the limit the job is told, to save
    gpus_per_node: int | None = None  # null = processes_per_node, or one
    cpus: int | None = None  # per node; null = the site's default
    memory_gb: int | None = None  # per node; null = the site's default
    options: list[str] = field(default_factory=list)  # further lines of the job's header, as the scheduler reads them
    setup: list[str] = field(default_factory=list)  # shell lines before the command: modules, virtual environment


@dataclass
class MachineConfig:
    """What it runs on; never identity."""

    name: str = "???"
    accelerator: str = "cpu"  # cpu | gpu
    nodes: int = 1
    processes_per_node: int | None = None  # null = as many as the strategy wants
    micro_batch_sequences: int = 1  # at most this many at once per process; never changes the numbers
    threads: int | None = None  # per process; null = torch decides
    encoder: str = "sentencepiece"  # sentencepiece | kitoken: which library tokenises corpora; the same ids
    processes: int = 1  # that tokenise a corpus; never changes the result
    rolling_checkpoint_seconds: float | None = 600.0  # between two marks, save a state this long after the last one; null = off
    rolling_checkpoint_tokens: int | None = None  # or this many trained tokens after it, whichever comes first; null = off
    async_checkpoints: bool = True  # write beside training from a copy in CPU memory (all weights and moments); never changes the numbers
    keep_states: int = 2  # newest resumable states a run keeps while it trains; a finished one keeps 1
    keep_mark_states: bool = False  # keep every mark's resumable state too (12 bytes a parameter each)
    keep_exports: bool = True  # false: `swallow gc` may remove exports of marks once every task of the suite has its result
    collective_timeout_seconds: float = 1800.0
    device: str | None = None  # exact name of its GPUs (model/devices.py), for `swallow plan`; training asks the GPU itself
    memory_gib: float | None = None  # of one GPU, for `swallow plan`
    price_per_gpu_hour: float | None = None  # in any currency, for `swallow plan`
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)


@dataclass
class SuiteConfig:
    """What every checkpoint is asked."""

    name: str = "???"
    tasks: list[str] = field(default_factory=list)
    limit: int | None = None  # items per task
    instruction_ja_en: str = ""  # what instructed translation tasks say to every run; empty = the paper's template
    instruction_en_ja: str = ""
    batch_size: int = 32
    device: str | None = None  # null = cuda when there is one
    data_dir: str | None = None  # folder of downloaded datasets, <dataset>/<file>
    network: bool = False  # fetch missing files of datasets (and models by hub name) from their official source
    profiles: list[str] = field(default_factory=lambda: ["paper", "fair"])  # paper: as published; fair: the same for every vocabulary
    fraction: float | None = None  # a fixed share of each dataset's items, (0, 1]; null = all
    backend: str = "hf"  # hf | vllm: what runs the model; vllm must first agree with hf on 50 questions of each kind
    gold_likelihood: bool = False  # bits per byte of the datasets' gold answers, as a further metric
    overlap: bool = False  # look for the items' n-grams in the run's training text: one pass over its corpora


@dataclass
class TrackingConfig:
    """Which publishers may see the outbox."""

    name: str = "???"
    wandb_mode: str | None = None  # null | offline | online
    wandb_project: str = "swallow_exp"
    wandb_entity: str | None = None
    artifacts: bool = True  # with the rows: where checkpoints lie, and the results of evaluations with their items
    items_table: bool = True  # with the rows: up to 200 items of each task, those that changed sides first
    publish_every_seconds: float | None = None  # while the run trains; null = when it has ended
    log_every_steps: int = 10


@dataclass
class PathsConfig:
    """Where text is read and where everything is written."""

    name: str = "???"

    out: str = "outputs"
    data: str = "."
    network: bool = False  # whether sources may be fetched from the Hugging Face hub


@dataclass
class Config:
    """One run, whole. Field order = conf/train.yaml."""

    base_model: BaseModelConfig = field(default_factory=BaseModelConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    numerics: NumericsConfig = field(default_factory=NumericsConfig)
    seed: int = 0
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
    suite: SuiteConfig = field(default_factory=SuiteConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Config:
        """Typed config from a resolved plain dict. Raises omegaconf errors on unknown keys and wrong types."""
        from omegaconf import OmegaConf

        merged = OmegaConf.merge(OmegaConf.structured(cls), dict(plain))
        config = OmegaConf.to_object(merged)
        assert isinstance(config, cls)
        return config


def inner_type(kind: Any, name: str) -> Any:
    """Type of the field `name` of a dataclass, or of the value behind a name of a dict, without `| None`. None for an unknown one."""
    if isinstance(kind, type) and is_dataclass(kind):
        inner = get_type_hints(kind).get(name)
    else:
        inner = get_args(kind)[1] if get_origin(kind) is dict else None
    return next(part for part in get_args(inner) if part is not type(None)) if type(None) in get_args(inner) else inner


def field_type(dotted: str) -> Any:
    """Type of a field by its dotted name: optim.lr_peak -> float, mixture.sources.NAME.language -> str. None for an unknown one."""
    kind: Any = Config
    for name in dotted.split("."):
        kind = inner_type(kind, name)
    return kind
