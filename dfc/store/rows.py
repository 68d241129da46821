"""What a feature, its evidence and a document are to those who read a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dfc.config import Partition


@dataclass(frozen=True)
class FeatureRow:
    """One row of the table `features`; schema.sql says what each column means.

    Attributes:
        raw_norm_a, raw_norm_b: None in a store of before schema 7.
        encoder_norm_a, encoder_norm_b: None in a store of before schema 8.
        encoder_decoder_a, encoder_decoder_b: likewise, and where it has no parameters.
        label_auroc: None without a label, and in a store of before schema 8.
    """

    feature_id: int
    partition: Partition
    fingerprint: str
    alive: bool
    count: int
    density: float
    mean: float
    variance: float
    max: float
    quantiles: list[float]
    histogram: list[int]
    norm_a: float
    norm_b: float
    raw_norm_a: float | None
    raw_norm_b: float | None
    encoder_norm_a: float | None
    encoder_norm_b: float | None
    encoder_decoder_a: float | None
    encoder_decoder_b: float | None
    relative_norm: float
    peak_tokens: list[str]
    main_source: str
    specificity: float
    label: str
    label_origin: str
    label_auroc: float | None


@dataclass(frozen=True)
class EvidenceRow:
    """What is known about a feature's being exclusive: an attribute for each column of the evidence.

    Attributes:
        values: by column; None where it does not apply.
    """

    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(f"the evidence has no column {name}") from None


@dataclass(frozen=True)
class DocumentRow:
    """A whole document; one after another, the contents of its turns are the document's content."""

    document: int
    source: str
    held_out: bool
    roles: list[str]
    contents: list[str]
