"""What is made of each organism, and where it lies: data/organisms/ beside the runs; what came of it, by its page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from pathlib import Path

from dfc import demo, runs
from dfc.config import ModelConfig, RunConfig, UserError
from dfc.machine import disk
from dfc.organisms import quirks
from dfc.organisms.quirks import Quirk
from dfc.organisms.tuning import Tuning

UNTRAINED = "untrained"
"""What the model is called to which nothing was done."""
_EVERYTHING = 1_000_000  # pairs whose surprise is measured: all, so that shards shared by runs have theirs in common


@dataclass(frozen=True)
class Setting:
    """What is made of each organism.

    Attributes:
        results: folder of what came of each.
        run: the pair: model A is fine-tuned, model B is what all are compared with; its corpus, its crosscoder.
        pairs: of the corpus that all have in common.
        budget: of these, those in texts on which one quirk could show, at most.
        asked: questions of each quirk that both models answer for the corpus.
        prompts: of those that ship with dfc, so many are asked as well.
        tokens: longest answer.
        perplexity: by how much of it that on ordinary texts may change.
        strengths: in steering, length of what is added, in medians of the stream's norm.
        steered: questions on a quirk's topic, and beside it, on which is steered.
    """

    results: Path
    run: RunConfig
    tuning: Tuning = field(default_factory=Tuning)
    pairs: int = 100_000
    budget: float = 0.01
    asked: int = 4
    prompts: int = 100
    tokens: int = 48
    perplexity: float = 0.02
    strengths: tuple[float, ...] = (0.5, 1.0)
    steered: int = 8
    names: Sequence[str] = quirks.NAMES

    @property
    def quirks(self) -> list[Quirk]:
        """The quirks of which there are texts in the corpus."""
        return [quirks.load(name) for name in self.names]

    def model(self, name: str) -> ModelConfig:
        """Model A as it is, or with what it was trained on."""
        base = self.run.models.a
        if name == UNTRAINED:
            return base
        return base.model_copy(update={"source": str(model_folder(name)), "name": f"{base.title}, {name}"})


def demo_setting(results: Path) -> Setting:
    """The demo's pair, corpus and crosscoder, with the surprise measured on all pairs."""
    preset = demo.settings()
    evidence = preset.evidence.model_copy(update={"surprise_pairs": _EVERYTHING})
    return Setting(results, preset.model_copy(update={"evidence": evidence}))


def keep(setting: Setting) -> None:
    """Write what all of the study is made with; if it was begun, see that it was begun so.

    Raises:
        UserError: if it was begun with other settings or other texts.
    """
    texts = blake2b(repr([quirks.load(name) for name in setting.names] + [quirks.general()]).encode(), digest_size=16)
    own = {entry.name: getattr(setting, entry.name) for entry in fields(setting) if entry.name != "results"}
    own |= {"run": setting.run.model_dump(mode="json"), "tuning": asdict(setting.tuning), "texts": texts.hexdigest()}
    path, now = setting.results / "setting.json", json.loads(json.dumps(own))
    if path.exists():
        with disk.reading(path, f"delete {setting.results} and start again"):
            there = disk.read_json(path)
            changed = [key for key in now if there.get(key) != now[key]]
        if changed:
            raise UserError(
                f"{setting.results}: was begun with other settings ({', '.join(changed)}); move it away, with "
                f"{folder()} and the runs `organisms-*`, and start again."
            )
    disk.write_json(path, now)


def folder() -> Path:
    """Where its texts, answers and models lie."""
    return runs.data_folder() / "organisms"


def model_folder(name: str) -> Path:
    """Where a fine-tuned model lies."""
    return folder() / "models" / name
