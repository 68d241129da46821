"""Features explained by a judge: what each stands for, how well that tells where it fires, and which flags apply.

What was answered is kept at once, by a hash of all that was asked, so that nothing is asked twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np

from dfc.asking import ask, messages
from dfc.asking.budget import Budget, SpentError
from dfc.asking.messages import Asker, StoppedError, UnansweredError
from dfc.config import JudgeConfig, UserError
from dfc.report import findings
from dfc.screen import contrast, questions
from dfc.screen.questions import Question
from dfc.screen.quotes import Material
from dfc.screen.words import Flag
from dfc.store.explanations import LEAST, Detection, Explanation, ExplanationStore, Said, now
from dfc.store.reader import Store

FIRST = 50
"""Findings of each model that are explained, if nothing else is said."""
_SURE = 5.0
"""A mark from which on a text counts as told to fire."""
_BYTES = 3  # of a token, about
_ANSWER = 80  # tokens, about
_IN_A_ROW = 5  # features of which nothing is heard at all before it is given up
Read = TypeVar("Read")


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked.

    Attributes:
        features: of which something is missing.
        requests: at most, if none has to be repeated since an endpoint is busy.
        tokens: about.
        most: tokens that they take at the very most, a byte of text counted as a token.
    """

    features: int
    requests: int
    tokens: int
    most: int

    @property
    def words(self) -> str:
        """As a sentence without an end."""
        if not self.requests:
            return "everything was answered already: nothing is asked"
        return (
            f"{self.requests:,} requests about {self.features:,} features, about {self.tokens:,} tokens, at the very "
            f"most {self.most:,}; more where an endpoint is busy and asked again"
        )


@dataclass
class Progress:
    """How far it is; grows.

    Attributes:
        done, total: features.
        explained: of these, those with an explanation.
        wrong: answers that could not be read, or did not come.
        first: what was wrong with the first of these.
        spent: why nothing more is asked; empty: it is.
    """

    total: int
    done: int = 0
    explained: int = 0
    wrong: int = 0
    first: str = ""
    spent: str = ""


@dataclass
class _Outcome:
    """What came of one feature: `asked` requests were sent, `problems` are of those without an answer."""

    explained: bool = False
    asked: int = 0
    problems: list[UserError] = field(default_factory=list)


def best_of_findings(store: Store, first: int = FIRST) -> tuple[int, ...]:
    """The best features of the first findings of each model, the models in turn."""
    found = sorted(findings.of(store), key=lambda one: (one.rank, one.side))
    return tuple(dict.fromkeys(one.feature_id for one in found if one.rank <= first))


def estimate(
    kept: ExplanationStore, judge: JudgeConfig, gathered: Sequence[Material], flags: Mapping[str, Flag]
) -> Estimate:
    """What is missing of what a judge is asked about some features."""
    features = requests = tokens = most = 0
    answers = kept.answers()
    for one in gathered:
        missing = _missing(answers, judge, one, flags)
        features, requests = features + bool(missing), requests + len(missing)
        for question in missing:
            bytes_ = sum(len(part.content.encode("utf-8", "surrogatepass")) for part in question.messages)
            tokens += bytes_ // _BYTES + _ANSWER
            most += messages.bound(question.messages) + judge.answer_tokens
    return Estimate(features, requests, tokens, most)


def explain(
    kept: ExplanationStore,
    judge: JudgeConfig,
    gathered: Sequence[Material],
    flags: Mapping[str, Flag],
    budget: Budget,
) -> Generator[Progress, None, None]:
    """Ask a judge about some features; closing the generator ends it, and what was answered is kept.

    Args:
        kept: where answers and explanations are.
        judge: whom to ask.
        gathered: about what.
        flags: which may apply.
        budget: how much may be asked.

    Yields:
        How far it is, several times a second.

    Raises:
        UserError: if the judge cannot be used, or is not heard of five times in a row.
    """
    stop = threading.Event()
    asker = ask.opened(judge, budget, stop)
    state, failed, answers = Progress(len(gathered)), None, kept.answers()
    unheard: list[UserError] = []  # of the latest features of which nothing was heard
    counting = threading.Lock()

    def work(one: Material) -> _Outcome:
        try:
            outcome = _Chain(kept, answers, judge, asker, stop).about(one, flags)
            with counting:
                if outcome.asked or not outcome.problems:
                    unheard.clear()
                elif len(unheard) < _IN_A_ROW:
                    unheard.append(outcome.problems[0])
                if len(unheard) == _IN_A_ROW:
                    stop.set()
            return outcome
        except Exception:  # whatever it is, it is raised again; no other thread begins anything more
            stop.set()
            raise

    try:
        with closing(ask.each(gathered, work, judge)) as outcomes:
            for came in outcomes:
                if came is not None:
                    outcome = came[1]
                    if isinstance(outcome, SpentError):
                        state.spent = state.spent or str(outcome)
                    elif isinstance(outcome, Exception):
                        failed = failed or (None if isinstance(outcome, StoppedError) else outcome)
                    else:
                        _count(state, outcome)
                yield state
        if failed is None and len(unheard) == _IN_A_ROW:
            failed = unheard[0]
        if failed is not None:
            raise failed
    finally:
        stop.set()


def _count(state: Progress, outcome: _Outcome) -> None:
    state.done += 1
    state.explained += outcome.explained
    state.wrong += len(outcome.problems)
    if outcome.problems and not state.first:
        state.first = str(outcome.problems[0])


class _Chain:
    """The questions about one feature, one after the other; `answers` is what was answered already, and grows."""

    def __init__(
        self,
        kept: ExplanationStore,
        answers: dict[str, str],
        judge: JudgeConfig,
        asker: Asker,
        stop: threading.Event,
    ) -> None:
        self._kept, self._answers, self._judge, self._asker, self._stop = kept, answers, judge, asker, stop
        self._outcome = _Outcome()

    def about(self, one: Material, flags: Mapping[str, Flag]) -> _Outcome:
        """Ask, and keep what is said.

        Raises:
            SpentError: if the budget is spent; what was said before is kept.
            UserError: if the judge cannot be used, likewise.
        """
        first = questions.explanation(one.shown, one.lens)
        if not one.shown or (explained := self._said(first)) is None:
            return self._outcome
        marks, applying, ended = None, None, None
        try:
            if _testable(one):
                marks = self._said(questions.detection(explained, one.texts))
            applying = self._said(questions.flagging(explained, one.shown, flags)) if flags else None
        except UserError as error:
            ended = error
        self._keep(one, first, explained, None if marks is None else detected(one, marks), applying, flags)
        if ended is not None:
            raise ended
        self._outcome.explained = True
        return self._outcome

    def _said(self, question: Question[Read]) -> Read | None:
        """What a judge says to a question, now or earlier; None where it is nothing that can be read."""
        if (known := _known(self._answers, self._judge, question)) is not None:
            return known
        asked = messages.key(self._judge, question.messages, self._judge.answer_tokens)
        if self._stop.is_set():
            raise StoppedError(f"{messages.who(self._judge)} is not asked any more.")
        try:
            reply = self._asker.ask(question.messages, self._judge.answer_tokens)
            self._outcome.asked += 1
            if reply.cut:
                raise UnansweredError(
                    f"an answer was cut at {self._judge.answer_tokens} tokens; raise `judge.answer_tokens` in run.yaml"
                )
            text = reply.text.encode("utf-8", "ignore").decode()
            read = question.read(text)
        except UnansweredError as error:
            self._outcome.problems.append(error)
            return None
        told = json.dumps([asdict(part) for part in question.messages], ensure_ascii=False)
        self._answers[asked] = text
        self._kept.keep_answer(asked, self._judge.title, told.encode("utf-8", "ignore").decode(), text)
        return read

    def _keep(
        self,
        one: Material,
        first: Question[str],
        explained: str,
        tested: Detection | None,
        applying: Mapping[str, str] | None,
        flags: Mapping[str, Flag],
    ) -> None:
        asked = messages.key(self._judge, first.messages, self._judge.answer_tokens)
        there = self._kept.told({one.feature_id: one.fingerprint}).get(one.feature_id)
        mine = () if there is None else there.explanations
        if not self._outcome.asked and any(
            (before.who, before.asked, before.detection) == (self._judge.title, asked, tested) for before in mine
        ):
            return  # it stands there as it is, with its date
        common = (one.feature_id, one.fingerprint)
        self._kept.put(
            Explanation(*common, "judge", self._judge.title, now(), explained, questions.VERSION, asked, tested),
            [
                Said(*common, "judge", self._judge.title, now(), name, name in applying, applying.get(name, ""),
                     questions.VERSION)
                for name in flags
            ] if applying is not None else [],
        )  # fmt: skip


def detected(one: Material, marks: Sequence[float]) -> Detection:
    """How well marks tell texts in which a feature fires from the others."""
    fires, given = np.array(one.fires), np.array(marks)
    told = (given >= _SURE) == fires
    row = contrast.separation(given[fires][:, None], given[~fires][:, None]).iloc[0]
    accuracy = float((told[fires].mean() + told[~fires].mean()) / 2)
    auroc, low, high = (float(row[name]) for name in ("auroc", "low", "high"))
    return Detection(accuracy, auroc, low, high, int(fires.sum()), int((~fires).sum()), one.held_out)


def _testable(one: Material) -> bool:
    """Whether there are enough texts of both kinds to say something by."""
    return LEAST <= sum(one.fires) <= len(one.fires) - LEAST


def _missing(
    answers: Mapping[str, str], judge: JudgeConfig, one: Material, flags: Mapping[str, Flag]
) -> list[Question[Any]]:
    """What is still to be asked about a feature; an explanation that is not there yet counts as the longest."""
    if not one.shown:
        return []
    first = questions.explanation(one.shown, one.lens)
    explained = _known(answers, judge, first)
    if explained is None:
        explained = "\U0010ffff" * questions.LONGEST
    asked: list[Question[Any]] = [first]
    asked += [questions.detection(explained, one.texts)] if _testable(one) else []
    asked += [questions.flagging(explained, one.shown, flags)] if flags else []
    return [question for question in asked if _known(answers, judge, question) is None]


def _known(answers: Mapping[str, str], judge: JudgeConfig, question: Question[Read]) -> Read | None:
    """What a judge said to a question earlier; None where it was not asked, or said what is not read any more."""
    answer = answers.get(messages.key(judge, question.messages, judge.answer_tokens))
    try:
        return None if answer is None else question.read(answer)
    except UnansweredError:
        return None
