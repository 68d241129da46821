"""Matched places: what a firing is compared with, so that a gap does not say what the text's language says already.

A model that was trained on more Chinese is less surprised by Chinese, wherever in it. So what follows a firing is
compared with what follows at places that are like it but for the feature: in texts of the same source, said by the
same speaker, at a token of the same kind, as far into the document. Rare words surprise the lesser model more, wherever
they stand; so what a table of the corpus's own words explains is taken off as well. How much that is differs between
languages: texts of different writing are never compared, as long as there are enough of each.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore, Rows
from dfc.evidence.following import Following

Numbers = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Names = npt.NDArray[np.object_]
TEXTS_SCHEMA = pa.schema(
    {
        "trait": pa.string(),
        "name": pa.string(),
        "documents": pa.int64(),
        "pairs": pa.int64(),
        "gap": pa.float64(),
        "error": pa.float64(),
    }
)
Ahead = Callable[[int, Rows], Tensor]
DOCUMENTS = 10
"""Of a kind of place, at least; with fewer it is joined to what is like it but for one trait less. What so few say is
unsure, and the errors of the gaps say so."""
PASSAGE = 32
"""Pairs of a document in a row that are one passage."""
_LONGEST = 1 << 31  # characters: more than any document has
_DEPTHS = (16, 64, 256)  # pairs into the document, between which places count as alike: models warm up


@dataclass(frozen=True)
class Places:
    """Rows of which it is known what follows; arrays are (rows,).

    Attributes:
        document, source, role: where each stands and who says it.
        kind: an index into `kinds`.
        writing: the script of most of its turn's tokens, likewise an index; −1 where they have no letters.
        depth: how many pairs of its document come before it.
        kinds: names of the kinds of token: a script, or digit, punctuation, symbol, other.
    """

    document: Ints
    source: Ints
    role: Ints
    kind: Ints
    writing: Ints
    depth: Ints
    kinds: tuple[str, ...]

    def cells(self, documents: int) -> tuple[Ints, Ints]:
        """Which rows are matched with each other, and which share a slope of rarity; both (rows,) numbers from 0.

        Alike in source, speaker, writing, kind of token and depth, where so many documents have such rows; of what is
        left, alike in all but the depth; then but for the kind among what is no letter; then in source and writing;
        then in writing alone; then the rest together. A slope is shared by what is alike in source and writing, and by
        each of the last two kinds of cell.

        Args:
            documents: in which there must be rows that are alike.
        """
        letters = np.array([name.isupper() for name in self.kinds], dtype=bool)
        script = np.where(letters[self.kind], self.kind, -1) if len(self.kinds) else self.kind
        depth = np.digitize(self.depth, _DEPTHS)
        everywhere = np.zeros_like(self.source)
        texts = (self.source, self.writing)
        slopes = (
            (everywhere, *texts),
            (everywhere + 1, everywhere, self.writing),
            (everywhere + 2, everywhere, everywhere),
        )
        levels = (
            ((*texts, self.role, self.kind, depth), slopes[0]),
            ((*texts, self.role, self.kind), slopes[0]),
            ((*texts, self.role, script), slopes[0]),
            (texts, slopes[0]),
            ((self.writing,), slopes[1]),
            ((everywhere,), slopes[2]),
        )
        cell, slope = np.full(len(self.document), -1), np.zeros((3, len(self.document)), dtype=np.int64)
        left, number = np.arange(len(cell)), 0
        for traits, shared in levels:
            alike = _numbered(*(trait[left] for trait in traits))
            last = traits[0] is everywhere
            enough = _documents(alike, self.document[left]) >= (0 if last else documents)
            chosen = enough[alike]
            cell[left[chosen]] = number + _numbered(alike[chosen])
            slope[:, left[chosen]] = np.stack([trait[left[chosen]] for trait in shared])
            number, left = number + int(enough.sum()), left[~chosen]
        return cell, _numbered(*slope)


@dataclass(frozen=True)
class Matched:
    """What follows every row of a run, and how much better each kind of text is known.

    Attributes:
        following: of all rows of a shard, by its number.
        texts: the table of that name.
    """

    following: Callable[[int], Following]
    texts: pa.Table


def match(
    store: ActivationStore, documents: pa.Table, source_of: Ints, sources: Sequence[str], ahead: Ahead
) -> Matched:
    """Match all kept rows of which it is known what follows.

    Args:
        store: whose rows.
        documents: the run's, of CORPUS_SCHEMA.
        source_of: source of each document, (documents,).
        sources: their names.
        ahead: gives, for a shard's number and its rows, what `surprise.ahead` gives.

    Raises:
        UserError: if a file of the store is damaged.
    """
    parts = [_known(store, shard, documents, ahead) for shard in range(len(store))]
    document, role, depth = (np.concatenate([getattr(part, name) for part in parts]) for name in _TRAITS)
    follows = np.concatenate([part.follows for part in parts])
    rarity = np.concatenate(list(_rarities(parts)))
    kinds = tuple(sorted({name for part in parts for name in np.unique(part.kind).tolist()}))
    kind = np.concatenate([np.searchsorted(kinds, part.kind) for part in parts])
    writing = np.concatenate([_numbers(kinds, part.writing) for part in parts])
    places = Places(document, source_of[document], role, kind, writing, depth, kinds)
    cell, slope = places.cells(DOCUMENTS)
    beyond, rare = unexpected(cell, slope, follows, rarity)
    passage = _numbered(document, depth // PASSAGE)
    until = np.cumsum([len(part.row) for part in parts])

    def following(shard: int) -> Following:
        part = parts[shard]
        own = slice(until[shard] - len(part.row), until[shard])
        values = np.full((part.rows, 4), np.nan)
        values[part.row] = np.column_stack([part.follows, beyond[own], rare[own]])
        numbers = np.full((part.rows, 3), -1)
        numbers[part.row] = np.column_stack([cell[own], slope[own], passage[own]])
        return Following(*torch.from_numpy(values).unbind(1), *torch.from_numpy(numbers).unbind(1))

    return Matched(following, texts(places, sources, follows))


def unexpected(cell: Ints, slope: Ints, follows: Numbers, rarity: Numbers) -> tuple[Numbers, Numbers]:
    """Nats of the gap beyond what is expected of each row, (rows,): over each cell they add up to 0.

    What is expected is β c + γ r for c characters of rarity r: β of the row's cell, and γ of the rows that share its
    slope, by least squares within the cells.

    Args:
        cell, slope: of each row.
        follows: the gap in nats and the characters, (rows, 2).
        rarity: of what follows: Σ −log of each piece's share of all pieces, (rows,).

    Returns:
        These nats, and by how much what follows is rarer than is usual in its cell, (rows,).
    """
    gap, rare = (
        column - _ratios(cell, column, follows[:, 1])[cell] * follows[:, 1] for column in (follows[:, 0], rarity)
    )
    together, alone = np.bincount(slope, gap * rare), np.bincount(slope, rare * rare)
    steepness = together / np.maximum(alone, np.finfo(float).tiny)
    return gap - steepness[slope] * rare, rare


def texts(places: Places, sources: Sequence[str], follows: Numbers) -> pa.Table:
    """By how much each kind of text surprises model B more than model A.

    Args:
        places: the rows.
        sources: names of the sources.
        follows: of each row the gap in nats and the characters, (rows, 2).

    Returns:
        A row for each source, speaker and script that `DOCUMENTS` documents have: `trait` (source, role or script),
        `name`, `documents`, `pairs`, `gap` in nats a character in favour of model A, and its standard error, with
        documents as clusters.
    """
    letters = np.array([name.isupper() for name in places.kinds], dtype=bool)
    rows = []
    for trait, numbers, names, chosen in (
        ("source", places.source, sources, None),
        ("role", places.role, stored.ROLES, None),
        ("script", places.kind, [name.lower() for name in places.kinds], letters[places.kind]),
    ):
        for number in np.unique(numbers if chosen is None else numbers[chosen]).tolist():
            own = numbers == number
            documents = len(np.unique(places.document[own]))
            if documents >= DOCUMENTS:
                gap, error, _ = ratio(places.document[own], follows[own])
                figures = {"documents": documents, "pairs": int(own.sum()), "gap": gap, "error": error}
                rows.append({"trait": trait, "name": names[number], **figures})
    return pa.Table.from_pylist(rows, schema=TEXTS_SCHEMA)


def ratio(document: Ints, follows: Numbers) -> tuple[float, float, float]:
    """Σ nats / Σ characters of rows, its standard error, and of how many documents it is for all that.

    The error is by linearisation with documents as clusters. Documents that weigh unevenly tell less than their number:
    they count as (Σ c)² / Σ c² for c characters of each (Kish's effective sample size).
    """
    sums = _sums(np.unique(document, return_inverse=True)[1], follows)
    nats, characters = sums.sum(0)
    count = float(characters**2 / np.square(sums[:, 1]).sum())
    if len(sums) < 2:
        return nats / characters, np.nan, count
    rest = np.square(sums[:, 0] - nats / characters * sums[:, 1]).sum()
    return nats / characters, float(np.sqrt(rest * count / (count - 1)) / characters), count


@cache
def kind_of(character: str) -> str:
    """What a token is that ends with a character: its script in capitals, or digit, punctuation, symbol or other."""
    category = unicodedata.category(character)
    if category[0] in "LM":
        return unicodedata.name(character, "OTHER").partition(" ")[0].partition("-")[0]
    return {"N": "digit", "P": "punctuation", "S": "symbol"}.get(category[0], "other")


@dataclass(frozen=True)
class _Part:
    """Kept rows of a shard of which it is known what follows; arrays are (known,) unless said.

    Attributes:
        rows: how many the shard has.
        row: which of them these are.
        follows: the gap and the characters, (known, 2).
        pieces: what each of the shard's first rows says, from the end of the one before; all of these documents'.
        until: the last of these rows in each row's window.
        kind, writing: as `Places` has them, by name; no name where a turn has no letters.
    """

    rows: int
    row: Ints
    follows: Numbers
    pieces: list[str]
    until: Ints
    document: Ints
    role: Ints
    kind: Names
    writing: Names
    depth: Ints


_TRAITS = ("document", "role", "depth")


def _known(store: ActivationStore, shard: int, documents: pa.Table, ahead: Ahead) -> _Part:
    rows = store.rows(shard)
    follows = ahead(shard, rows).numpy()
    finite = np.isfinite(follows[:, 0])
    known = np.flatnonzero(finite & store.keep(shard, rows))
    whole = rows.document <= rows.document[finite].max(initial=-1)  # documents, to the end of the last
    last = int(whole.sum())
    document, end = rows.document[:last].astype(np.int64), rows.end[:last].astype(np.int64)
    point, turn, pieces = np.zeros(last, dtype=np.int64), np.zeros(last, dtype=np.int64), []
    for number, own in _runs(document):
        contents = documents["contents"][number].as_py()
        content = "".join(contents)
        points = np.frombuffer(content.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        point[own] = points[end[own] - 1]
        turn[own] = np.searchsorted(np.cumsum([len(one) for one in contents]), end[own])
        pieces += [content[first:until] for first, until in pairwise([0, *end[own].tolist()])]
    distinct, at = np.unique(point, return_inverse=True)
    kind = np.array([kind_of(chr(one)) for one in distinct.tolist()], dtype=object)[at]
    writing = most_letters(_numbered(document, turn), kind)
    place = document * _LONGEST + end
    until = np.searchsorted(place, place[known] + follows[known, 1].astype(np.int64))
    depth = np.arange(last) - np.searchsorted(document, document)
    role = rows.role[known].astype(np.int64)
    return _Part(
        len(rows),
        known,
        follows[known],
        pieces,
        until,
        document[known],
        role,
        kind[known],
        writing[known],
        depth[known],
    )


def most_letters(turn: Ints, kind: Names) -> Names:
    """The script of most of the tokens of each row's turn that end with a letter, (rows,); "" where none does."""
    scripts, script = np.unique(kind.astype(str), return_inverse=True)
    counts = np.zeros((int(turn.max(initial=-1)) + 1, len(scripts)))
    np.add.at(counts, (turn, script), 1)
    counts[:, ~np.char.isupper(scripts)] = 0
    most = np.where(counts.any(1), scripts[counts.argmax(1)], "") if len(scripts) else np.zeros(0, dtype=str)
    return most.astype(object)[turn]


def _numbers(names: tuple[str, ...], values: Names) -> Ints:
    """Place of each value among sorted names; −1 of an empty one."""
    return np.where(values == "", -1, np.searchsorted(names, values))


def _rarities(parts: list[_Part]) -> Iterator[Numbers]:
    """Of what follows each known row, part by part: Σ −log of each piece's share of all pieces, in nats."""
    counts = Counter(piece for part in parts for piece in part.pieces)
    whole = math.log(max(1, counts.total()))
    for part in parts:
        nats = np.array([whole - math.log(counts[piece]) for piece in part.pieces])
        behind = np.cumsum(nats)
        yield behind[part.until] - behind[part.row]


def _runs(document: Ints) -> Iterator[tuple[int, slice]]:
    """Each document and its rows, of rows in the order of documents."""
    begins = np.flatnonzero(np.diff(document, prepend=-1)).tolist()
    for first, until in pairwise([*begins, len(document)]):
        yield int(document[first]), slice(first, until)


def _numbered(*traits: Ints) -> Ints:
    """Rows numbered by what they are alike in, from 0, (rows,)."""
    number = np.zeros(len(traits[0]), dtype=np.int64)
    for trait in traits:
        distinct, place = np.unique(trait, return_inverse=True)
        number = np.unique(number * len(distinct) + place, return_inverse=True)[1]
    return number


def _documents(cell: Ints, document: Ints) -> Ints:
    """In how many documents each cell has rows, (cells,)."""
    if not len(cell):
        return np.zeros(0, dtype=np.int64)
    cells, _ = np.unique(np.stack([cell, document]), axis=1)
    return np.bincount(cells)


def _sums(number: Ints, values: Numbers) -> Numbers:
    """Sums of rows, (rows, columns), by their number."""
    return np.stack([np.bincount(number, column) for column in values.T], axis=1)


def _ratios(cell: Ints, upper: Numbers, lower: Numbers) -> Numbers:
    """Σ upper / Σ lower of each cell, (cells,)."""
    return np.bincount(cell, upper) / np.bincount(cell, lower)
