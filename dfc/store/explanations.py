"""What judges and people say of a run's features: explanations, flags, and the answers they were read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from dfc.store import beside
from dfc.store.book import clean_line, clean_name

Origin = Literal["judge", "person"]
HOLDS = 0.8
"""The accuracy of a detection from which on an explanation is taken for a label: the paper's."""
LEAST = 5
"""Texts of each kind without which a detection says nothing."""
LABEL_LENGTH = 200
_SCHEMA = (Path(__file__).parent / "explanations.sql").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Detection:
    """How well an explanation tells texts on which a feature fires from texts on which it does not.

    Attributes:
        accuracy: mean of the shares of both kinds that were told rightly.
        auroc, low, high: how often a text on which it fires has the higher mark, ties counting half, with its interval
            of 95 %.
        firing, silent: how many texts of each kind; the judge saw none of them when it explained.
        held_out: of the first, those of documents that were kept out of training.
    """

    accuracy: float
    auroc: float
    low: float
    high: float
    firing: int
    silent: int
    held_out: int

    @property
    def holds(self) -> bool:
        """Whether the explanation is good enough to be a label."""
        return self.accuracy >= HOLDS and min(self.firing, self.silent) >= LEAST

    @property
    def words(self) -> str:
        """As a sentence without an end."""
        held_out = f", {self.held_out} of documents kept out of training" if self.held_out else ""
        return (
            f"detection {self.accuracy:.2f} (AUROC {self.auroc:.2f}, {self.low:.2f} to {self.high:.2f}) on "
            f"{self.firing} texts on which it fires{held_out} and {self.silent} on which it does not"
        )


@dataclass(frozen=True)
class Explanation:
    """What a judge or a person says a feature is about.

    Attributes:
        who: the judge's model, or the person's name.
        written: ISO 8601, UTC.
        prompt: version of the prompts; empty of a person.
        asked: by what the answer is known among the answers; empty of a person.
        detection: how well it was told by; None of a person, and where there were too few texts or no answer.
    """

    feature_id: int
    fingerprint: str
    origin: Origin
    who: str
    written: str
    text: str
    prompt: str = ""
    asked: str = ""
    detection: Detection | None = None

    @property
    def is_label(self) -> bool:
        """Whether it may stand as the feature's label."""
        return self.origin == "person" or (self.detection is not None and self.detection.holds)


@dataclass(frozen=True)
class Said:
    """What a judge or a person says of a flag of a feature."""

    feature_id: int
    fingerprint: str
    origin: Origin
    who: str
    written: str
    flag: str
    applies: bool
    reason: str = ""
    prompt: str = ""


@dataclass(frozen=True)
class Told:
    """All that is said of one feature as it is today, the latest first."""

    explanations: tuple[Explanation, ...] = ()
    flags: tuple[Said, ...] = ()

    @property
    def explanation(self) -> Explanation | None:
        """The one that holds: a person's, or else the latest of a judge."""
        return min(self.explanations, key=lambda one: one.origin != "person", default=None)

    @property
    def label(self) -> Explanation | None:
        """The same, if it may stand as the label."""
        best = self.explanation
        return best if best is not None and best.is_label else None

    @property
    def standing(self) -> Mapping[str, Said]:
        """Of each flag what holds: the latest that a person says, or else of a judge."""
        held: dict[str, Said] = {}
        for one in sorted(self.flags, key=lambda one: (one.origin == "person", one.written)):
            held[one.flag] = one
        return held

    @property
    def applying(self) -> tuple[Said, ...]:
        """The flags that hold and apply."""
        return tuple(one for one in self.standing.values() if one.applies)


NOTHING = Told()
"""Said of a feature of which nothing is."""
_DETECTION = tuple(one.name for one in fields(Detection))
_OWN = tuple(one.name for one in fields(Explanation) if one.name != "detection")
_FLAGS = tuple(one.name for one in fields(Said))


@dataclass(frozen=True)
class ExplanationStore:
    """A run's explanations.duckdb; it is made by the first thing that is written.

    Every method raises UserError if the file is damaged (DamagedError), or another process does not let go of it.
    """

    path: Path

    # -- reading

    def told(self, prints: Mapping[int, str]) -> dict[int, Told]:
        """What is said of features with these fingerprints; without those of which nothing is."""
        if not self.path.exists() or not prints:
            return {}
        found: dict[int, Told] = {}
        with self._open(write=False) as connection:
            asked = [list(prints)]
            texts = connection.execute(
                f"""SELECT {", ".join((*_OWN, *_DETECTION))} FROM explanations
                    WHERE list_contains(?, feature_id) ORDER BY written DESC, who""",
                asked,
            ).fetchall()
            flags = connection.execute(
                f"""SELECT {", ".join(_FLAGS)} FROM flags WHERE list_contains(?, feature_id)
                    ORDER BY written DESC, who, flag""",
                asked,
            ).fetchall()
        explanations, marks = map(_explanation, texts), (Said(*row) for row in flags)
        for one in explanations:
            if prints[one.feature_id] == one.fingerprint:
                known = found.setdefault(one.feature_id, NOTHING)
                found[one.feature_id] = Told((*known.explanations, one), known.flags)
        for mark in marks:
            if prints[mark.feature_id] == mark.fingerprint:
                known = found.setdefault(mark.feature_id, NOTHING)
                found[mark.feature_id] = Told(known.explanations, (*known.flags, mark))
        return found

    def features(self) -> list[int]:
        """Those of which something is said, whatever their fingerprint."""
        if not self.path.exists():
            return []
        with self._open(write=False) as connection:
            sql = "SELECT feature_id FROM explanations UNION SELECT feature_id FROM flags ORDER BY feature_id"
            return [feature for (feature,) in connection.execute(sql).fetchall()]

    def answers(self) -> dict[str, str]:
        """Everything that judges answered, by what they were asked."""
        if not self.path.exists():
            return {}
        with self._open(write=False) as connection:
            return dict(connection.execute("SELECT asked, answer FROM answers").fetchall())

    # -- what a judge says

    def keep_answer(self, asked: str, model: str, messages: str, answer: str) -> None:
        """Keep an answer; messages are JSON."""
        with self._open(write=True) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", [asked, model, now(), messages, answer]
            )

    def put(self, explanation: Explanation, flags: Sequence[Said]) -> None:
        """Keep what a judge says of a feature in place of what the same one said before."""
        if explanation.origin != "judge" or any(one.origin != "judge" for one in flags):
            raise ValueError("what people say is kept by `label` and `flag`")
        with self._open(write=True) as connection:
            for table in ("explanations", "flags") if flags else ("explanations",):
                connection.execute(
                    f"DELETE FROM {table} WHERE feature_id = ? AND fingerprint = ? AND origin = 'judge' AND who = ?",
                    [explanation.feature_id, explanation.fingerprint, explanation.who],
                )
            _insert(connection, "explanations", [_row(explanation)])
            _insert(connection, "flags", [asdict(one) for one in flags])

    # -- what a person says

    def label(self, feature_id: int, fingerprint: str, who: str, text: str) -> Explanation:
        """Keep what a person calls a feature, in place of what they called it before; an empty text takes it away.

        Raises:
            UserError: if the text or the name is too long, or the name empty.
        """
        text, who = clean_line(text, LABEL_LENGTH), clean_name(who)
        one = Explanation(feature_id, fingerprint, "person", who, now(), text)
        with self._open(write=True) as connection:
            connection.execute(
                "DELETE FROM explanations WHERE feature_id = ? AND origin = 'person' AND who = ?", [feature_id, who]
            )
            _insert(connection, "explanations", [_row(one)] if text else [])
        return one

    def flag(self, feature_id: int, fingerprint: str, who: str, flag: str, applies: bool) -> Said:
        """Keep whether a person says that a flag applies, in place of what they said before.

        Raises:
            UserError: if the name is empty or too long.
        """
        one = Said(feature_id, fingerprint, "person", clean_name(who), now(), flag, applies)
        with self._open(write=True) as connection:
            connection.execute(
                "DELETE FROM flags WHERE feature_id = ? AND origin = 'person' AND who = ? AND flag = ?",
                [feature_id, one.who, flag],
            )
            _insert(connection, "flags", [asdict(one)])
        return one

    # -- between runs and the notebook

    def by_people(self) -> tuple[tuple[Explanation, ...], tuple[Said, ...]]:
        """All that people say, whatever the fingerprints."""
        if not self.path.exists():
            return (), ()
        with self._open(write=False) as connection:
            texts, flags = (
                connection.execute(f"SELECT {', '.join(names)} FROM {name} WHERE origin = 'person'").fetchall()
                for name, names in (("explanations", (*_OWN, *_DETECTION)), ("flags", _FLAGS))
            )
        return tuple(map(_explanation, texts)), tuple(Said(*row) for row in flags)

    def take(self, explanations: Sequence[Explanation], flags: Sequence[Said]) -> int:
        """Keep what people said elsewhere, where the same person has said nothing later of it here; an empty text takes
        a label away.

        Returns:
            How many words were new here.
        """
        labelled, flagged = self.by_people()
        own: list[Explanation | Said] = [*labelled, *flagged]
        said: list[Explanation | Said] = [*explanations, *flags]
        here = {_key(one): one.written for one in own}
        last = {_key(one): one for one in sorted(said, key=lambda one: one.written)}
        new = [one for key, one in last.items() if one.written > here.get(key, "")]
        new = [one for one in new if _key(one) in here or not isinstance(one, Explanation) or one.text]
        if not new:
            return 0
        labels = [one for one in new if isinstance(one, Explanation)]
        marks = [one for one in new if isinstance(one, Said)]
        with self._open(write=True) as connection:
            for name, rows, of in (("explanations", labels, ""), ("flags", marks, " AND flag = ?")):
                for one in rows:
                    values = [one.feature_id, one.fingerprint, one.who] + ([one.flag] if isinstance(one, Said) else [])
                    connection.execute(
                        f"""DELETE FROM {name} WHERE feature_id = ? AND fingerprint = ? AND origin = 'person'
                            AND who = ?{of}""",
                        values,
                    )
            _insert(connection, "explanations", [_row(one) for one in labels if one.text])
            _insert(connection, "flags", [asdict(one) for one in marks])
        return len(new)

    @contextmanager
    def _open(self, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        with beside.opened(self.path, _SCHEMA, write, "a readable file of explanations") as connection:
            yield connection


def now() -> str:
    """The time as it is kept."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _key(one: Explanation | Said) -> tuple[int, str, str, str]:
    """What a later word of the same person takes the place of."""
    return one.feature_id, one.fingerprint, one.who, one.flag if isinstance(one, Said) else ""


def _explanation(row: Sequence[Any]) -> Explanation:
    own, tested = dict(zip(_OWN, row, strict=False)), dict(zip(_DETECTION, row[len(_OWN) :], strict=True))
    return Explanation(**own, detection=None if tested["accuracy"] is None else Detection(**tested))


def _row(one: Explanation) -> dict[str, Any]:
    own = {name: getattr(one, name) for name in _OWN}
    return own | (dict.fromkeys(_DETECTION) if one.detection is None else asdict(one.detection))


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.register("incoming", pa.Table.from_pylist(rows))
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")
