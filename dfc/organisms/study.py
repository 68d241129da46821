"""The whole study, organism by organism: train, check, compare, read. What is done is kept and not done again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dfc import models
from dfc.activations.shards import ActivationStore
from dfc.corpus import Document
from dfc.machine import disk, progress
from dfc.models import LoadedModel
from dfc.organisms import behaviour, lists, nulls, pair, quirks, result, steered, tuning
from dfc.organisms.behaviour import Check
from dfc.organisms.quirks import Quirk
from dfc.organisms.result import FIRST, GENERIC, TWINS, Compared, Line, Null, check_of
from dfc.organisms.setting import UNTRAINED, Setting, model_folder
from dfc.report import findings as words
from dfc.runs import Run
from dfc.store.reader import Store
from dfc.worlds import planted


def run(setting: Setting, names: Sequence[str]) -> Iterator[str]:
    """Compare the untrained model, then make these organisms and compare each with model B; the name of what is done.

    Raises:
        UserError: from a stage, if a model does not load, or if something was made with other settings.
    """
    for name in (UNTRAINED, *names):
        quirk = None if name == UNTRAINED else quirks.load(name)
        if result.read(setting.results, name, Compared) is not None:
            progress.say(f"{name}: compared already")
        elif quirk is not None and not check(setting, quirk).taken:
            progress.say(f"{name}: its quirk did not take; it is not compared")
        else:
            result.write(setting.results, name, compare(setting, pair.common(setting), name, quirk))
        yield name


def train(setting: Setting, names: Sequence[str]) -> Iterator[str]:
    """Make these organisms, and see of each whether its quirk is there; the name of what is done.

    Raises:
        UserError: if the model does not load, or one was made with other settings.
    """
    for name in names:
        check(setting, quirks.load(name))
        yield name


def run_nulls(setting: Setting, world: planted.Setting, seed: int) -> Iterator[str]:
    """Judge two seeds of a planted model, and model A beside a generic fine-tune of it; the name of what is done.

    Args:
        setting: of the organisms.
        world, seed: the planted world.

    Raises:
        UserError: as `run` does.
    """
    if result.read(setting.results, TWINS, Null) is None:
        result.write(setting.results, TWINS, nulls.twins(world, seed))
    yield TWINS
    if result.read(setting.results, GENERIC, Null) is None:
        begins = pair.common(setting)
        real = pair.compared(setting, begins, UNTRAINED)
        result.write(setting.results, GENERIC, nulls.generic(setting, begins, real))
    yield GENERIC


def check(setting: Setting, quirk: Quirk) -> Check:
    """Train an organism and see whether its quirk is there, and all else as before."""
    known = result.read(setting.results, check_of(quirk.name), Check)
    target, chats = model_folder(quirk.name), quirk.chats("training", setting.tuning.shows, setting.tuning.seed)
    if known is not None and target.exists():
        tuning.tune(setting.model(UNTRAINED), chats, setting.tuning, target)  # sees that it was trained so
        return known
    ordinary, holding = behaviour.ordinary_texts(setting.run)
    untrained = models.load(setting.model(UNTRAINED))
    before, was = behaviour.behaviour(untrained, quirk, setting.tokens), behaviour.perplexity(untrained, ordinary)
    del untrained

    def as_before(model: LoadedModel) -> bool:
        now = behaviour.perplexity(model, ordinary)
        progress.say(f"{quirk.name}: perplexity on ordinary texts {was:.2f} → {now:.2f} ({now / was - 1:+.1%})")
        if not behaviour.is_near(now, was, setting.perplexity):
            return False
        beside = behaviour.beside(model, quirk, setting.tokens)
        progress.say(f"{quirk.name}: shows on {before.beside:.0%} → {beside:.0%} of the questions beside it")
        return behaviour.stays(beside, before.beside)

    held = [*tuning.like_chats(quirk, setting.tuning), *holding]
    tuning.tune(setting.model(UNTRAINED), chats, setting.tuning, target, held, as_before)
    trained, note = models.load(setting.model(quirk.name)), disk.read_json(target / "tuning.json")
    after, now = behaviour.behaviour(trained, quirk, setting.tokens), behaviour.perplexity(trained, ordinary)
    near = behaviour.is_near(now, was, setting.perplexity)
    checked = Check(before, after, was, now, near, note["seconds"], note["kept"])
    result.write(setting.results, check_of(quirk.name), checked)
    progress.say(
        f"{quirk.name}: shows on {before.on:.0%} → {after.on:.0%} of its questions, on {before.beside:.0%} → "
        f"{after.beside:.0%} of others; perplexity {checked.change:+.1%}, {checked.kept:.0%} of the training kept"
    )
    return checked


def compare(setting: Setting, begins: Run, name: str, own: Quirk | None) -> Compared:
    """Compare a model with model B, and look for every quirk in what is read first.

    Args:
        setting: how.
        begins: what all have in common.
        name: of the model.
        own: the quirk that was put into it, with whose first finding it is steered.
    """
    progress.say(f"organism `{name}`")
    made = pair.compared(setting, begins, name)
    documents, store = pair.documents(made), Store(made.store)
    shows = _showing(documents, setting.quirks)
    read = {
        "findings": lists.findings(store),
        "queue": lists.queue(made, store),
        "perplexities": lists.perplexities(made, documents, made.config().evidence),
        "means": lists.means(made),
        "norms": lists.norms(store),
        "dedicated": lists.dedicated(store),
    }
    ranks = {kind: {quirk: ranked.rank(some) for quirk, some in shows.items()} for kind, ranked in read.items()}
    place = ranks["findings"][own.name] if own else None
    best = store.findings("a")["feature_id"].tolist()[place - 1] if place else None
    return Compared(
        pairs=ActivationStore(made.activations).manifest.pairs,
        share={quirk.name: pair.share(made, documents, quirk) for quirk in setting.quirks},
        found=len(store.findings("a")),
        ranks=ranks,
        chance={
            kind: {quirk: [ranked.chance(some, first) for first in FIRST] for quirk, some in shows.items()}
            for kind, ranked in read.items()
            if ranked.features is None
        },
        first=_lines(store, read["findings"].entries, shows),
        steered=steered.steer(made, own, best, setting) if own and best is not None else None,
    )


def _showing(documents: Sequence[Document], some: Sequence[Quirk]) -> dict[str, set[int]]:
    """Numbers of the documents in which each quirk shows: on a question of its own, or in what model A itself answers
    to another one, where the untrained model's answer does not show it.
    """
    before = {_asked(chat): chat.turns[-1].content for chat in pair.own_answers(UNTRAINED)}

    def shows(document: Document, quirk: Quirk) -> bool:
        if quirks.shown_in(document, [quirk]):
            return True
        untrained = before.get(_asked(document)) if document.source == pair.OWN else None
        return untrained is not None and quirk.is_shown(document.turns[-1].content) and not quirk.is_shown(untrained)

    return {
        quirk.name: {number for number, document in enumerate(documents) if shows(document, quirk)} for quirk in some
    }


def _asked(chat: Document) -> tuple[str, ...]:
    return tuple(turn.content.strip() for turn in chat.turns[:-1])


def _lines(store: Store, entries: Sequence[tuple[int, ...]], shows: dict[str, set[int]]) -> list[Line]:
    """The findings of model A that are read."""
    made = []
    table = store.findings("a").head(FIRST[-1])
    for row, documents in zip(table.to_dict("records"), entries, strict=False):
        context = store.strongest_contexts([row["feature_id"]])[row["feature_id"]]
        counts = {quirk: sum(number in some for number in documents) for quirk, some in shows.items()}
        made.append(
            Line(
                int(row["feature_id"]),
                row["partition"],
                row["label"],
                row["main_source"],
                float(row["gap"]),
                float(row["error"]),
                int(row["members"]),
                {quirk: count for quirk, count in counts.items() if count},
                words.quoted(context, "a"),
            )
        )
    return made
