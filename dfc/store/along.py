"""What people say of a run's features, in the run and in the notebook, so that it outlives the run's folder.

A run holds what stands today (`explanations`), the notebook everything that was said, each word with who and when. Both
are written in the same step; `exchange` gives each what it lacks: a run that was copied, made again or moved has its
words back, and those that were said before the notebook kept them, or elsewhere, leave with its export.
"""

from __future__ import annotations

from collections.abc import Iterable

from dfc.config import UserError
from dfc.runs import Run
from dfc.store.book import FlagSaid, Label
from dfc.store.explanations import Explanation, ExplanationStore, Said
from dfc.store.notes import Notebook


def label(run: Run, book: Notebook, feature_id: int, fingerprint: str, who: str, text: str) -> None:
    """Keep what a person calls a feature; an empty text takes the label back.

    Raises:
        UserError: if the name or the text does not do, or a file cannot be written.
    """
    said = ExplanationStore(run.explanations).label(feature_id, fingerprint, who, text)
    book.keep([_label(run.name, said)], [])


def flag(run: Run, book: Notebook, feature_id: int, fingerprint: str, who: str, name: str, applies: bool) -> None:
    """Keep whether a person says that a flag applies.

    Raises:
        UserError: if the name does not do, or a file cannot be written.
    """
    said = ExplanationStore(run.explanations).flag(feature_id, fingerprint, who, name, applies)
    book.keep([], [_flag(run.name, said)])


def exchange(book: Notebook, runs: Iterable[Run]) -> list[str]:
    """Give the notebook what people said in runs, and runs what the notebook holds of them.

    Returns:
        What could not be done, in sentences; the rest is done all the same.
    """
    problems = []
    for run in runs:
        kept = ExplanationStore(run.explanations)
        try:
            written, own = book.read().of(run.name), kept.by_people()
            here = {_label(run.name, one) for one in own[0]}, {_flag(run.name, one) for one in own[1]}
            if here[0] - {*written.labels} or here[1] - {*written.flags}:
                book.keep(*here)
            kept.take([_explanation(one) for one in written.labels], [_said(one) for one in written.flags])
        except UserError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def _label(run: str, one: Explanation) -> Label:
    return Label(run, one.feature_id, one.fingerprint, one.written, one.who, one.text)


def _flag(run: str, one: Said) -> FlagSaid:
    return FlagSaid(run, one.feature_id, one.fingerprint, one.written, one.who, one.flag, one.applies)


def _explanation(one: Label) -> Explanation:
    return Explanation(one.feature_id, one.fingerprint, "person", one.who, one.written, one.text)


def _said(one: FlagSaid) -> Said:
    return Said(one.feature_id, one.fingerprint, "person", one.who, one.written, one.flag, one.applies)
