"""The sections of a run's YAML, with one line of help per field; `models` and `judge` have modules of their own.

What a field of the type `AnyTime` says may change whenever it likes: it is about how a run is done, or about words.
Every other setting of a section on which a stage depends (`runs.DEPENDS`) decides the stage's result.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dfc.config.base import AnyTime, Name, Part, Section
from dfc.config.judge import JudgeConfig
from dfc.config.models import ModelPair

ScaleRule = Literal["median", "rms", "none", "variance", "columns"]
"""How the factors are found by which both streams are multiplied: `activations/scales.py`."""


class SourceConfig(Section):
    name: Name = Field(min_length=1, description="label that every document of this source carries")
    path: str = Field(
        min_length=1,
        description="a file (.jsonl, .json, .csv, .tsv, .parquet, .arrow, .txt, .md; also .gz, .bz2, .zst of these), "
        "a glob of files, a folder of files, of a saved dataset or of a cloned one, or the id of a dataset on the hub",
    )
    subset: str | None = Field(default=None, description="configuration of a hub dataset or a cloned one")
    split: str = Field(default="train", description="split of a hub dataset, or of a saved or cloned one")
    text: str = Field(default="text", description="field that holds plain text")
    messages: str = Field(
        default="messages",
        description="field that holds a chat as a list of {role, content} or {from, value}, or as JSON of one; "
        "`conversations` and `conversation` are found without",
    )
    prompt: str = Field(
        default="prompt",
        description="field of what the user says, where rows have no text or chat; `instruction` is found without",
    )
    response: str = Field(
        default="response",
        description="field of the assistant's answer to `prompt`; `completion` and `output` are found without",
    )
    min_characters: int = Field(default=1, ge=1, description="shorter documents are left out")
    language: str | None = Field(
        default=None, description="leave out rows whose `language_field` is not this; null: no row"
    )
    language_field: str = Field(default="language", description="field that says a row's language")
    weight: float = Field(default=1.0, gt=0, description="share of the corpus's pairs, relative to the other sources")


class CorpusConfig(Section):
    sources: tuple[SourceConfig, ...] = Field(min_length=1, description="where the documents come from")
    pairs: int = Field(default=100_000, ge=1, description="stop once this many token pairs were found")
    max_characters: int = Field(
        default=4_000, ge=1, description="longer documents are cut here; what tools say is not counted"
    )
    drop_duplicates: bool = Field(
        default=True, description="leave out documents that some source of the run has given before"
    )
    held_out: float = Field(
        default=0.1, gt=0, lt=1, description="share of documents kept out of training, for measuring"
    )
    seed: int = Field(default=0, description="order in which each source's documents are drawn")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"two sources share a name: {', '.join(names)}; give each its own")
        return self

    @model_validator(mode="after")
    def _lengths_leave_something(self) -> Self:
        for source in self.sources:
            if source.min_characters > self.max_characters:
                raise ValueError(
                    f"source {source.name} leaves out what is shorter than {source.min_characters} characters, "
                    f"but documents are cut at {self.max_characters}; raise max_characters"
                )
        return self


class HarvestConfig(Section):
    shard_pairs: int = Field(default=8_192, ge=1, description="pairs in one file of activations")
    batch_tokens: AnyTime[int | None] = Field(
        default=None, ge=1, description="tokens in one forward pass, padding included; null: as many as memory takes"
    )
    format: Literal["bfloat16", "int8"] = Field(
        default="bfloat16", description="how activations are stored; int8 takes half the disk, see docs/harvest.md"
    )
    skip_first: int = Field(
        default=4, ge=0, description="leave out pairs within the first tokens of a sequence (attention sinks)"
    )
    outlier_factor: float | None = Field(
        default=2.0, gt=1, description="leave out pairs whose norm exceeds this times the median; null: leave out none"
    )
    scale: ScaleRule = Field(
        default="columns",
        description="what is made equal between the models: variance, each stream's total variance about its mean, "
        "which is what the loss adds up; columns, that, and every column's share of it, where a column that hardly "
        "moves is taken to have a hundredth of the median column's deviation; median or rms, that norm; none, the "
        "stream as it is",
    )


class CrosscoderConfig(Section):
    kind: Literal["dfc", "standard", "dsf"] = Field(
        default="dfc",
        description="dfc: with dedicated partitions; standard: all shared; dsf: standard with some decoders tied",
    )
    features: int = Field(default=16_384, ge=3, description="size of the whole dictionary")
    exclusive_a: float = Field(
        default=0.05, ge=0, le=0.5, description="fraction of the dictionary that only model A may use"
    )
    exclusive_b: float = Field(
        default=0.05, ge=0, le=0.5, description="fraction of the dictionary that only model B may use"
    )
    exclusive_reads: Literal["stream", "unpredicted"] = Field(
        default="unpredicted",
        description="what an exclusive feature is encoded from: all of its model's stream, or what a linear map of the "
        "other stream does not predict of it",
    )
    k: int = Field(default=64, ge=1, description="active features per pair")
    budget: Literal["per_partition", "joint"] = Field(
        default="per_partition", description="one BatchTopK per partition, or one over the whole dictionary"
    )
    budget_a: float = Field(
        default=0.1, gt=0, le=0.5, description="share of k for A's exclusive features (budget: per_partition)"
    )
    budget_b: float = Field(
        default=0.1, gt=0, le=0.5, description="share of k for B's exclusive features (budget: per_partition)"
    )
    designated: float = Field(
        default=0.1, gt=0, lt=1, description="fraction of the dictionary with tied decoders (dsf)"
    )
    designated_budget: float = Field(
        default=2.0, gt=0, description="how many times their proportional part of k they get (dsf)"
    )
    shared_combine: Literal["mean", "sum"] = Field(
        default="mean", description="how a shared feature joins its two encoders"
    )
    rank_by: Literal["value", "norm_sum", "norm_mean", "norm_max"] = Field(
        default="norm_mean", description="what BatchTopK ranks: the activation, or it times the decoder norm"
    )
    decoder_norm: float = Field(default=0.4, gt=0, description="norm of each decoder vector at the start, per model")

    @model_validator(mode="after")
    def _budgets_leave_something(self) -> Self:
        if self.kind == "dsf" and self.budget == "joint":
            raise ValueError("kind dsf raises the budget of its designated features: it needs `budget: per_partition`")
        if any(share <= 0 for share in self.part_budgets.values()):
            raise ValueError(f"the parts' budgets leave nothing for one of them: {self.part_budgets}")
        if any(size < 1 for size in self.part_sizes.values()):
            raise ValueError(f"the parts' fractions leave no feature for one of them: {self.part_sizes}")
        return self

    @property
    def part_sizes(self) -> dict[Part, int]:
        """Number of features in each part that the dictionary has, in the order of their ids."""
        if self.kind == "standard":
            return {"shared": self.features}
        if self.kind == "dsf":
            tied = max(1, round(self.features * self.designated))
            return {"designated": tied, "shared": self.features - tied}
        fractions: dict[Part, float] = {"a": self.exclusive_a, "b": self.exclusive_b}
        sizes = {part: max(1, round(self.features * share)) for part, share in fractions.items() if share}
        shared = self.features - sum(sizes.values())
        return sizes if self.exclusive_a + self.exclusive_b == 1 else {**sizes, "shared": shared}

    @property
    def part_budgets(self) -> dict[Part, float]:
        """Share of k that each part gets where each has a budget of its own."""
        if self.kind == "standard":
            return {"shared": 1.0}
        if self.kind == "dsf":
            tied = self.designated * self.designated_budget
            return {"designated": tied, "shared": 1 - tied}
        shares: dict[Part, float] = {"a": self.budget_a, "b": self.budget_b}
        shares = {part: share for part, share in shares.items() if part in self.part_sizes}
        if "shared" in self.part_sizes:
            return {**shares, "shared": 1 - sum(shares.values())}
        return {part: share / sum(shares.values()) for part, share in shares.items()}


class TrainingConfig(Section):
    steps: int = Field(default=100_000, ge=1, description="optimizer steps")
    batch: int = Field(default=2_048, ge=1, description="pairs per step")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size after the warm-up")
    warmup_steps: int = Field(default=1_000, ge=0, description="steps over which the learning rate grows from 0")
    decay_fraction: float = Field(default=0.2, ge=0, le=1, description="last part of training over which it falls to 0")
    k_start: int = Field(default=1_000, ge=1, description="k at the first step, annealed linearly down to crosscoder.k")
    k_anneal_steps: int = Field(default=5_000, ge=0, description="steps over which k is annealed")
    aux_weight: float = Field(default=0.03, ge=0, description="weight of the AuxK loss that revives dead features")
    aux_k: int = Field(default=512, ge=1, description="dead features per pair that reconstruct the residual")
    aux_scope: Literal["per_partition", "total"] = Field(
        default="per_partition", description="whether aux_k features are taken from each partition or from all together"
    )
    dead_after_pairs: int = Field(
        default=10_000_000, ge=1, description="a feature is dead after so many pairs without firing"
    )
    threshold_decay: float = Field(default=0.999, gt=0, lt=1, description="moving average of the inference threshold")
    threshold_start: int = Field(default=1_000, ge=0, description="step at which that average starts")
    clip_gradient: float | None = Field(
        default=1.0, gt=0, description="largest norm of the whole gradient; null: no limit"
    )
    device: AnyTime[str] = Field(default="auto", description="cpu, cuda, cuda:0, or auto: cuda where there is one")
    compute: AnyTime[Literal["auto", "float32", "bfloat16"]] = Field(
        default="auto",
        description="precision in which candidates are searched, weights and kept activations are always float32; "
        "auto: bfloat16 where the hardware multiplies it faster",
    )
    checkpoint_every: AnyTime[int] = Field(default=1_000, ge=1, description="steps between checkpoints")
    log_every: AnyTime[int] = Field(default=50, ge=1, description="steps between lines of metrics.jsonl")
    stream: bool = Field(
        default=False,
        description="train on texts beyond those that are stored: both models read on while the crosscoder is trained",
    )
    tensorboard: AnyTime[bool] = Field(
        default=False, description="write the same as TensorBoard events to tensorboard/ (pip install tensorboard)"
    )
    window_shards: int = Field(default=16, ge=1, description="shards whose pairs are shuffled together")
    seed: int = Field(default=0, description="seed of the weights and of the order of the pairs")


class IndexConfig(Section):
    top_contexts: int = Field(default=20, ge=1, description="strongest contexts kept for each feature")
    band_contexts: int = Field(default=5, ge=0, description="contexts sampled from each of 4 lower quantile bands")
    pairs_before: int = Field(default=32, ge=0, description="paired tokens of context before the peak")
    pairs_after: int = Field(default=12, ge=0, description="paired tokens of context after the peak")
    logit_tokens: int = Field(default=20, ge=1, description="promoted and suppressed tokens kept, per model")
    batch: AnyTime[int] = Field(default=2_048, ge=1, description="pairs encoded at once")
    partners: int = Field(default=10, ge=0, description="features that fire on the same pairs kept for each feature")
    partner_pairs: int = Field(default=65_536, ge=1, description="pairs on which these are counted, at most")


BEGINNING_WINDOWS = 4
"""Of a document, what is measured of its beginning at least."""


class EvidenceConfig(Section):
    # The surprise gap is set on planted worlds beside those of docs/planted.md: features of what was planted exceed it,
    # others hardly ever do. The rest is set on toy worlds, where the truth is known (docs/toy-evidence.md): features of
    # exclusive concepts have probe ratios up to 0.55 and fire like features of the other exclusive partition up to a
    # correlation of 0.62; those of shared concepts begin at a ratio of 0.8.
    ridge: float = Field(
        default=1e-3, gt=0, description="ridge of probes and stitch, relative to a stream's mean variance"
    )
    inversion: float = Field(default=0.1, ge=0, description="weight of the stitch's inversion penalty")
    rounds: int = Field(default=3, ge=0, description="how often the stitch's two maps are fitted to each other")
    neighbours: int = Field(default=5, ge=1, description="features of like direction kept, of each kind")
    auroc_pairs: int = Field(default=8_192, ge=1, description="held-out pairs on which AUROC is measured, at most")
    correlation_pairs: int = Field(
        default=500_000,
        ge=1,
        description="pairs over which features are correlated, at most; their codes are in memory",
    )
    surprise_pairs: int = Field(
        default=1_000_000,
        ge=0,
        description="pairs on which the models' surprise by the text is measured, at most, and 4 windows at least; 0: "
        "not at all",
    )
    surprise_window: int = Field(default=16, ge=1, description="pairs after a firing by which both are surprised")
    surprise_gap: float = Field(
        default=0.03,
        gt=0,
        description="findings, exclusive: least nats a character by which what follows surprises the other model more "
        "than at matched places",
    )
    surprise_errors: float = Field(default=2.0, ge=0, description="exclusive: and in standard errors")
    false_discovery: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="findings: share of features that pass though the gap is no larger than surprise_gap, at most",
    )
    finding_documents: int = Field(
        default=5,
        ge=2,
        description="findings: as how many documents those count in which a feature fires, at least, where surprise is "
        "measured",
    )
    min_firings: int = Field(default=20, ge=1, description="a feature that fires on fewer pairs counts as dead")
    min_held_out_firings: int = Field(
        default=5, ge=1, description="held-out firings without which a feature is not called exclusive"
    )
    own_r2: float = Field(
        default=0.05, gt=0, le=1, description="held-out R² that a feature's own model must reach for a comparison"
    )
    exclusive_ratio: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="exclusive, without surprise: the other model reaches at most this share of that R²",
    )
    exclusive_auroc: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="exclusive, without surprise: and at most this share of its AUROC above chance",
    )
    shared_ratio: float = Field(
        default=0.7, ge=0, description="shared-like: the other model reaches at least this share of that R²"
    )
    shared_auroc: float = Field(
        default=0.9, ge=0, description="shared-like: and at least this share of its AUROC above chance"
    )
    mirror_correlation: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="mirrored: least correlation with a feature of the other exclusive partition",
    )
    shared_correlation: float = Field(
        default=0.6, ge=0, le=1, description="shared-like: least correlation with a shared feature"
    )
    match_correlation: float = Field(
        default=0.5, gt=0, le=1, description="stability: least correlation of features of two runs that are one"
    )

    @model_validator(mode="after")
    def _enough_is_measured(self) -> Self:
        least = BEGINNING_WINDOWS * self.surprise_window
        if 0 < self.surprise_pairs < least:
            raise ValueError(
                f"surprise_pairs is less than the beginning of one document: set it to {least} or more, or 0"
            )
        return self


class RunConfig(Section):
    """Everything that decides what a run is; its YAML holds these fields under the same names."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the run and of its folder")
    models: ModelPair = Field(description="the two models that are compared")
    corpus: CorpusConfig = Field(description="the texts on which they are compared")
    harvest: HarvestConfig = Field(default=HarvestConfig(), description="how activations are collected")
    crosscoder: CrosscoderConfig = Field(default=CrosscoderConfig(), description="the dictionary")
    training: TrainingConfig = Field(default=TrainingConfig(), description="how it is trained")
    index: IndexConfig = Field(default=IndexConfig(), description="what is kept about each feature")
    evidence: EvidenceConfig = Field(
        default=EvidenceConfig(), description="how features are judged; nothing that was made depends on it"
    )
    judge: JudgeConfig | None = Field(default=None, description="a language model that scores steered texts, if any")
