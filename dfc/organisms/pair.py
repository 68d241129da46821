"""The corpus that all organisms are compared on, and the run of each against model B.

What all have in common comes first, in the same rows: the run's own sources, chats of all quirks with their look-alikes
and ordinary ones, and what model B answers. It is paired, read by model B and weighed by its surprise once, in a run
that is only harvested; each organism's run begins with that, and goes on with what the organism itself answers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dfc import pipeline, runs
from dfc.activations import beginnings, pairing, sharing
from dfc.activations import documents as stored
from dfc.activations.pairing import Pairer
from dfc.activations.shards import read_tokens
from dfc.config import CorpusConfig, RunConfig, SourceConfig, shipped
from dfc.corpus import Document
from dfc.machine import disk
from dfc.models import rollouts
from dfc.organisms import quirks
from dfc.organisms.quirks import Quirk
from dfc.organisms.setting import UNTRAINED, Setting, folder
from dfc.requests import RolloutSampling, Turn
from dfc.runs import Run

CHATS, OTHER, OWN = "short chats", "answers of B", "answers of A"
_WEIGHT = 3.0  # of each of these sources: they run dry, and the others fill in


def common(setting: Setting) -> Run:
    """The run of the untrained model on what all have in common, harvested, and model B's surprise at it.

    Raises:
        UserError: from a stage, or if a model does not load.
    """
    chats = folder() / "texts" / "chats.jsonl"
    _write_chats(chats, _chats(setting))
    _answer(setting, UNTRAINED)
    made = runs.create(_settings(setting, "common", UNTRAINED, [(CHATS, chats), (OTHER, _answers(UNTRAINED, "b"))]))
    pipeline.run_stages(made, until="harvest")
    with made.lock():
        evidence = setting.run.evidence
        beginnings.measure(made, evidence.surprise_pairs, evidence.surprise_window, ["b"])  # A is another in each run
    return made


def compared(setting: Setting, begins: Run, name: str) -> Run:
    """The run of a model against model B through all stages and its evidence; what is done is not done again.

    Args:
        setting: how.
        begins: what `common` gave.
        name: of the organism, or `UNTRAINED`.

    Raises:
        UserError: from a stage, or if a model does not load.
    """
    _answer(setting, name)
    own = _answers(name, "a")
    config, pairer = begins.config(), Pairer(begins.config())
    more = _count(pairer, own_answers(name))
    sources = (*config.corpus.sources, SourceConfig(name=OWN, path=str(own), weight=_WEIGHT))
    found = pairing.read_position(begins).found
    settings = config.model_copy(
        update={
            "name": f"organisms-{name}",
            "models": config.models.model_copy(update={"a": setting.model(name)}),
            "corpus": config.corpus.model_copy(update={"sources": sources, "pairs": found + more}),
        }
    )
    made = runs.create(settings)
    sharing.beginning(begins, made)
    pipeline.run_stages(made)
    pipeline.verify(made, again=False)
    return made


def own_answers(name: str) -> list[Document]:
    """What a model that was asked has answered, chat by chat."""
    return _read_chats(_answers(name, "a"))


def documents(run: Run) -> list[Document]:
    """All documents of a run, by their number."""
    table = stored.read(run).to_pylist()
    return [
        Document(row["source"], tuple(Turn(*turn) for turn in zip(row["roles"], row["contents"], strict=True)))
        for row in table
    ]


def share(run: Run, whole: Sequence[Document], quirk: Quirk) -> float:
    """Of a run's pairs, those in documents on which a quirk could show."""
    could = {number for number, document in enumerate(whole) if quirks.may_show(document, quirk)}
    total = within = 0
    for shard in range(pairing.count_shards(run)):
        tokens = read_tokens(run.activations, shard, ["document", "ends"])
        for number, ends in zip(tokens["document"].to_pylist(), tokens["ends"].to_pylist(), strict=True):
            total += len(ends)
            within += len(ends) * (number in could)
    return within / max(1, total)


def _settings(setting: Setting, name: str, model: str, further: Sequence[tuple[str, Path]]) -> RunConfig:
    sources = [SourceConfig(name=source, path=str(path), weight=_WEIGHT) for source, path in further]
    own = setting.run.corpus
    corpus = own.model_copy(update={"sources": (*own.sources, *sources), "pairs": setting.pairs})
    models = setting.run.models.model_copy(update={"a": setting.model(model)})
    return setting.run.model_copy(update={"name": f"organisms-{name}", "models": models, "corpus": corpus})


def _chats(setting: Setting) -> list[Document]:
    """Held-out chats of every quirk, as many as the budget allows beside its answers, look-alikes and ordinary ones."""
    probe = CorpusConfig(sources=setting.run.corpus.sources)
    pairer = Pairer(setting.run.model_copy(update={"corpus": probe}))
    chosen = quirks.general().chats("held_out")
    for quirk in setting.quirks:
        asked = [_question(ask) for ask in quirk.asks("held_out")[: setting.asked]]
        answers = 2 * (_count(pairer, asked) + setting.asked * setting.tokens)  # of both models, at most
        room = setting.budget * setting.pairs - answers
        for chat in quirk.chats("held_out", setting.pairs):
            room -= _count(pairer, [chat])
            if room < 0:
                break
            chosen.append(chat)
        chosen += quirk.ordinary("held_out")
    return chosen


def _asked(setting: Setting) -> list[Document]:
    """What both models answer: ordinary questions, some of every quirk and a look-alike of each."""
    asks = list(quirks.general().asks)
    for quirk in setting.quirks:
        asks += [*quirk.asks("held_out")[: setting.asked], quirk.asks("held_out", shows=False)[0]]
    shipped_ones = rollouts.read_prompts(str(shipped.PROMPTS / "*.jsonl"), setting.prompts) if setting.prompts else []
    return [*map(_question, asks), *shipped_ones]


def _question(ask: str) -> Document:
    return Document("asks", (Turn("user", ask),))


def _answer(setting: Setting, name: str) -> None:
    """Let a model answer; what model B says is the same beside each, and is said once."""
    config = setting.run.model_copy(
        update={"name": name, "models": setting.run.models.model_copy(update={"a": setting.model(name)})}
    )
    target = _answers(name, "a").parent
    if name != UNTRAINED:
        for file in ("b.yaml", "b.jsonl"):
            source = _answers(UNTRAINED, "b").with_name(file)
            with disk.replacing(target / file) as temporary:
                shutil.copyfile(source, temporary)
    rollouts.write(config, _asked(setting), RolloutSampling(tokens=setting.tokens), target)


def _answers(name: str, side: str) -> Path:
    return folder() / "answers" / name / f"{side}.jsonl"


def _count(pairer: Pairer, chats: Sequence[Document]) -> int:
    """Pairs in chats."""
    return len(pairer.pairs(list(chats))[2].ends) if chats else 0


def _write_chats(path: Path, chats: Sequence[Document]) -> None:
    lines = [json.dumps({"messages": [asdict(turn) for turn in chat.turns]}, ensure_ascii=False) for chat in chats]
    disk.write_text(path, "\n".join(lines) + "\n")


def _read_chats(path: Path) -> list[Document]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Document(OWN, tuple(Turn(**turn) for turn in row["messages"])) for row in rows]
