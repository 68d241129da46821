"""Every choice of a run, as frozen models with one line of help per field.

A run is one YAML file. Unknown keys, wrong types and impossible combinations are
refused with one sentence that names the file, the key and the remedy. This room
knows no torch: it can be imported anywhere at no cost.
"""

from dfc.config import shipped
from dfc.config.base import (
    PARTITIONS,
    SIDES,
    VERDICTS,
    DamagedError,
    MemoryShortError,
    MissingError,
    NotLoadedError,
    Part,
    Partition,
    Section,
    SettingsError,
    Side,
    UserError,
    Verdict,
    VersionError,
    opposite,
)
from dfc.config.files import BEFORE, dump, load, load_sites, load_whole, parse
from dfc.config.judge import JudgeConfig
from dfc.config.models import ModelConfig, ModelPair
from dfc.config.sections import (
    BEGINNING_WINDOWS,
    CorpusConfig,
    CrosscoderConfig,
    EvidenceConfig,
    HarvestConfig,
    IndexConfig,
    RunConfig,
    ScaleRule,
    SourceConfig,
    TrainingConfig,
)

__all__ = [
    "BEFORE",
    "BEGINNING_WINDOWS",
    "PARTITIONS",
    "SIDES",
    "VERDICTS",
    "CorpusConfig",
    "CrosscoderConfig",
    "DamagedError",
    "EvidenceConfig",
    "HarvestConfig",
    "IndexConfig",
    "JudgeConfig",
    "MemoryShortError",
    "MissingError",
    "ModelConfig",
    "ModelPair",
    "NotLoadedError",
    "Part",
    "Partition",
    "RunConfig",
    "ScaleRule",
    "Section",
    "SettingsError",
    "Side",
    "SourceConfig",
    "TrainingConfig",
    "UserError",
    "Verdict",
    "VersionError",
    "dump",
    "load",
    "load_sites",
    "load_whole",
    "opposite",
    "parse",
    "shipped",
]
