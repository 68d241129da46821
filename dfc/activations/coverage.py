"""How much of a corpus two tokenizers pair, and what the pairs of a text look like."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import islice, pairwise

import numpy as np

from dfc import alignment, corpus
from dfc.activations import pairing
from dfc.activations.pairing import Pairer, Position
from dfc.alignment import Pairs, Tokens
from dfc.config import SIDES, RunConfig
from dfc.machine import progress

_DOCUMENTS_AT_ONCE = 16


@dataclass(frozen=True)
class Coverage:
    """What was paired in documents of one source, or of all.

    Attributes:
        tokens_a, tokens_b: tokens of each model.
        content_a, content_b: those that are neither white space, template nor special.
        pairs: pairs, each of one token with content on either side.
        failed: documents with content on both sides and yet no pair, or in which a search for offsets gave up.
        seconds: what tokenising and pairing took.
    """

    source: str
    documents: int
    tokens_a: int
    tokens_b: int
    content_a: int
    content_b: int
    pairs: int
    failed: int
    seconds: float

    @property
    def shares(self) -> tuple[float, float]:
        """Of the tokens with content of A and of B, those that are paired."""
        return self.pairs / max(self.content_a, 1), self.pairs / max(self.content_b, 1)

    @property
    def tokens_per_second(self) -> float:
        return (self.tokens_a + self.tokens_b) / self.seconds


@dataclass(frozen=True)
class Window:
    """Tokens of A and of B that say the same; the last of each are a pair, unless the text ended before one."""

    tokens_a: tuple[str, ...]
    tokens_b: tuple[str, ...]
    paired: bool


def measure(config: RunConfig, documents: int) -> list[Coverage]:
    """Pair so many documents of a run's corpus; one entry a source that was drawn from.

    Sources are drawn from in the ratio of their weights, until one after another runs dry. What was left out or given
    otherwise than it stands there is said.

    Raises:
        UserError: if a tokenizer does not load or a source cannot be read.
    """
    pairer = Pairer(config)
    opened = corpus.open_sources(config.corpus)
    sources = {name: source.documents for name, source in opened.items()}
    weights = {source.name: source.weight for source in config.corpus.sources}
    coverages: dict[str, list[Coverage]] = {name: [] for name in sources}
    taken = dict.fromkeys(sources, 0)
    while sources and (left := documents - sum(taken.values())) > 0:
        name = min(sources, key=lambda source: taken[source] / weights[source])
        drawn = list(islice(sources[name], min(_DOCUMENTS_AT_ONCE, left)))
        if not drawn:
            del sources[name]
            continue
        started = time.perf_counter()
        paired = pairer.pairs(drawn, sum(taken.values()))
        coverages[name].append(_count(name, *paired, time.perf_counter() - started))
        taken[name] += len(drawn)
    tallies = {name: {"left_out": source.left_out, "noted": source.noted} for name, source in opened.items()}
    for sentence in corpus.remarks(pairing.remarks(Position(noted=pairer.noted, sources=tallies)), config):
        progress.say(sentence)
    return [total(parts, name) for name, parts in coverages.items() if parts]


def total(parts: Iterable[Coverage], name: str = "total") -> Coverage:
    """Several together."""
    columns = zip(*([getattr(part, entry.name) for entry in fields(Coverage)[1:]] for part in parts), strict=True)
    return Coverage(name, *map(sum, columns))


def windows(config: RunConfig, text: str) -> list[Window]:
    """The tokens of a text under both models' tokenizers, cut after each pair.

    Raises:
        UserError: if a tokenizer does not load.
    """
    pairer = Pairer(config)
    text = corpus.clean(text)
    a, b, pairs = pairer.pairs([corpus.plain(text)])
    texts_a, texts_b = (
        [
            shown or piece  # one byte of a character, or a special token
            for shown, piece in zip(
                alignment.token_texts(text, tokens),
                pairer.tokenizer(side).convert_ids_to_tokens(tokens.ids.tolist()),
                strict=True,
            )
        ]
        for side, tokens in zip(SIDES, (a, b), strict=True)
    )
    cuts = [(0, 0), *zip((pairs.index_a + 1).tolist(), (pairs.index_b + 1).tolist(), strict=True)]
    result = [Window(tuple(texts_a[i:k]), tuple(texts_b[j:m]), paired=True) for (i, j), (k, m) in pairwise(cuts)]
    rest = Window(tuple(texts_a[cuts[-1][0] :]), tuple(texts_b[cuts[-1][1] :]), paired=False)
    return [*result, rest] if rest.tokens_a or rest.tokens_b else result


def as_table(measured: list[Coverage]) -> str:
    """One line a source, and one for all."""
    head = ("documents", "failed", "tokens A", "tokens B", "paired A", "paired B", "tokens/s")
    lines = [f"{'source':<24}" + "".join(f"{title:>12}" for title in head)]
    for part in (*measured, total(measured)):
        counts = (part.documents, part.failed, part.tokens_a, part.tokens_b)
        numbers = [f"{count:,}" for count in counts] + [f"{share:.1%}" for share in part.shares]
        numbers.append(f"{part.tokens_per_second:,.0f}")
        lines.append(f"{part.source:<24}" + "".join(f"{number:>12}" for number in numbers))
    return "\n".join(lines)


def side_by_side(shown: list[Window]) -> str:
    """One line a window, A's tokens and B's, each in quotes; control characters are written out."""
    texts = [(" ".join(map(repr, window.tokens_a)), " ".join(map(repr, window.tokens_b))) for window in shown]
    width = max((len(text) for text, _ in texts), default=0)
    return "\n".join(
        f"{text_a:<{width}} | {text_b}{'' if window.paired else '   (no pair)'}"
        for window, (text_a, text_b) in zip(shown, texts, strict=True)
    )


def _count(source: str, a: Tokens, b: Tokens, pairs: Pairs, seconds: float) -> Coverage:
    # Of each document.
    content_a, content_b = (np.diff(np.append(0, np.cumsum(side.content_ends >= 0))[side.first]) for side in (a, b))
    unpaired = (content_a > 0) & (content_b > 0) & (np.diff(pairs.first) == 0)
    return Coverage(
        source,
        documents=len(a.lost),
        tokens_a=len(a.ids),
        tokens_b=len(b.ids),
        content_a=int(content_a.sum()),
        content_b=int(content_b.sum()),
        pairs=len(pairs.ends),
        failed=int((a.lost | b.lost | unpaired).sum()),
        seconds=seconds,
    )
