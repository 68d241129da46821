"""Which features are wanted, in which order: the filters of the features table as SQL.

Everything that a user types is bound as a value; what enters a statement is written here, or numbers of features.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfc.config import PARTITIONS, Partition, Side, Verdict
from dfc.config.characters import UNSPACED, is_unspaced
from dfc.store import columns

Ends = tuple[float, float]
"""Of a range; both ends belong to it, and may be infinite."""
RELEVANCE = "relevance"
"""The order of a search: whole words before parts of words; of these labels that hold the text first, then the most
contexts; then what fires rarest."""
LIKENESS = "likeness"
"""The order of a search by meaning: the nearest first."""
LISTED = "listed"
"""The order in which `ids` are given."""
BETWEEN = "\x1e"
"""The character that separates records: no search goes across it."""
_COMMON = " etaoinsrhldcumfgpwybvkxjqz"  # from the commonest


def orders() -> list[str]:
    """What features can be sorted by: columns, how well they match words or a meaning, and as a list has them."""
    return [*(one.name for one in columns.columns() if one.sorted), RELEVANCE, LIKENESS, LISTED]


def begins_low(order: str) -> bool:
    """Whether the first comes first, as of ranks and texts; else the highest does."""
    return order == LISTED or (order not in (RELEVANCE, LIKENESS) and columns.column(order).begins_low)


def ranges() -> list[str]:
    """The columns that features can be filtered by, from one number to another."""
    return [one.name for one in columns.columns() if one.steps]


@dataclass(frozen=True)
class FeatureQuery:
    """A filtered, sorted page of the features table; `columns` says what each column means.

    Attributes:
        within: ranges by their column, each from its first number to its second, both included. Numbers of the
            evidence leave out the features that have none: those not judged, and those to which they do not apply.
        source, role: passes if the feature fires on it more often than on all pairs.
        search: passes if a context, on either side, or the label holds this text, whatever its case. (So do the peak
            tokens: they are texts of contexts.)
        strongest: the search looks into the strongest contexts and the label alone.
        about: what is looked for by meaning, in words; the store reads its vector alone.
        near: that vector, of length 1: passes if it is known what the feature means; empty: all.
        label: passes if the label holds this text, whatever its case.
        ids: passes if among these; None: all.
        verdicts: passes if among these; none: all, those not judged included.
        found: the best features of the findings of this model alone; None: all.
        finding: the features of the finding of this number alone; None: all.
    """

    partitions: tuple[Partition, ...] = ("a", "b", "shared")
    alive_only: bool = True
    within: tuple[tuple[str, Ends], ...] = ()
    main_source: str | None = None
    label: str = ""
    search: str = ""
    strongest: bool = False  # of contexts, for the search
    about: str = ""  # what is looked for by meaning
    near: tuple[float, ...] = ()  # its vector
    ids: tuple[int, ...] | None = None  # these alone; None: all
    source: str | None = None  # fires on it more often than on the corpus
    role: str | None = None  # likewise, on what somebody says
    verdicts: tuple[Verdict, ...] = ()  # none: all, those not judged included
    found: Side | None = None  # the best features of this model's findings
    finding: int | None = None  # its features
    order: str = "specificity"
    descending: bool = True
    limit: int = 100
    offset: int = 0

    def range(self, name: str) -> Ends | None:
        """The range of a column; None: all, those without the figure included."""
        return dict(self.within).get(name)

    def ranged(self, **ends: Ends | None) -> FeatureQuery:
        """The same with these ranges, by column; None takes one away."""
        kept = {**dict(self.within), **ends}
        return replace(self, within=tuple((name, both) for name, both in sorted(kept.items()) if both is not None))


def folded(text: str) -> str:
    """SQL for a text without its case; İ, which `lower` makes a plain i, keeps its dot."""
    return f"lower(replace({text}, 'İ', 'i̇'))"


def whole_words(text: str, letters: str = r"\pL\pM\pN_") -> str:
    """A regular expression that finds a text as whole words, its first group, whatever its case.

    At an end of a script without spaces anything may stand beside it.

    Args:
        text: that is looked for.
        letters: for a class, what words are made of: as DuckDB writes it, or `\\w` as Python does.
    """
    beside = rf"[^{letters}]|[{UNSPACED}]"
    before, after = (
        f"(?:{edge}|{beside})" if (end == "_" or unicodedata.category(end)[0] in "LMN") and not is_unspaced(end) else ""
        for edge, end in (("^", text[0]), ("$", text[-1]))
    )
    return f"(?i){before}({re.escape(text)}){after}"


def rare_end(text: str) -> str:
    """A text from its rarest character on, three characters at least where it has so many.

    DuckDB looks for the first byte of what it searches: where that is a space or an e, the scan takes several times
    as long. So a text is looked for only where its rare end was found.
    """
    ranks = [_COMMON.find(mark) % (len(_COMMON) + 1) for mark in text.lower()]  # what is not among them comes last
    return text[max(range(max(1, len(text) - 2)), key=ranks.__getitem__) :]


@dataclass(frozen=True)
class Narrowing:
    """By which words of contexts a search is narrowed before texts are looked into.

    Attributes:
        words: every text that holds what is searched holds each of these in a word of its own.
        whole: what is searched is one word or a part of one: the texts need not be looked into.
    """

    words: tuple[str, ...]
    whole: bool = False


def matching(query: FeatureQuery, narrowing: Narrowing | None = None) -> tuple[str, str, list[Any]]:
    """What stands before SELECT, the rows of `judged` that a search finds, and the values bound in both.

    With a search that they are sorted by the rows have `named`, 1 if the label holds the text and 2 if as whole words,
    `words`, how many texts of contexts hold it as whole words, and `hits`, how many do at all, once for each word that
    holds it; with one by meaning `likeness`, the cosine of the feature's vector with the one asked for.

    Args:
        query: what is asked for.
        narrowing: of its search; None: all texts are looked through.
    """
    made: list[str] = []
    rows, values = "judged", []
    if query.near:
        made.append(f"meant AS (SELECT feature_id, {likeness()} AS likeness FROM meanings)")
        rows, values = "judged JOIN meant USING (feature_id)", [list(query.near)]
    if query.search:
        text, own = _searching(query, narrowing)
        made.append(text)
        rows, values = f"{rows} JOIN hit USING (feature_id)", [*values, *own]
    return f"WITH {', '.join(made)}" if made else "", rows, values


def likeness() -> str:
    """SQL for the cosine of a feature's vector with one that is bound; both are of length 1."""
    return "list_inner_product(vector, ?::FLOAT[])"


def _searching(query: FeatureQuery, narrowing: Narrowing | None) -> tuple[str, list[Any]]:
    """The table `hit` of a search for a text, and the values bound in it."""
    ranked = query.order == RELEVANCE
    if narrowing and narrowing.whole:
        held, values = _in_words(query, ranked)
    else:
        held, values = _in_texts(query, narrowing.words if narrowing else (), ranked)
    named, patterns = ("1 + regexp_matches(label, ?)::INTEGER", [whole_words(query.search)]) if ranked else ("1", [])
    found = f"""hit AS MATERIALIZED (
        SELECT feature_id, max(named) AS named, sum(words) AS words, sum(hits) AS hits FROM (
            SELECT feature_id, 0 AS named, words, hits FROM ({held}) UNION ALL
            SELECT feature_id, {named}, 0, 0 FROM features WHERE contains({folded("label")}, {folded("?")})
        ) GROUP BY feature_id)"""
    return found, [*values, *patterns, query.search]


def _in_words(query: FeatureQuery, ranked: bool) -> tuple[str, list[Any]]:
    """SQL for features of which a word holds the text: feature_id, words, hits."""
    if not ranked:
        held = f"SELECT unnest(feature_ids) AS feature_id FROM words WHERE contains(word, {folded('?')})"
        return f"SELECT DISTINCT feature_id, 0 AS words, 0 AS hits FROM ({held})", [query.search]
    return (
        f"""SELECT feature_id, sum(hits) FILTER (whole) AS words, sum(hits) AS hits FROM (
                SELECT word = {folded("?")} AS whole, unnest(feature_ids) AS feature_id, unnest(contexts) AS hits
                FROM words WHERE contains(word, {folded("?")}))
            GROUP BY feature_id""",
        [query.search, query.search],
    )


def _in_texts(query: FeatureQuery, words: Sequence[str], ranked: bool) -> tuple[str, list[Any]]:
    """SQL for the texts that hold it, of features that have these words: feature_id, words, hits."""
    texts, never = "store.searched", ""
    if query.strongest:
        texts = f"""(SELECT feature_id, {folded("text")} AS text FROM (
                        SELECT feature_id, unnest([text_a, text_b]) AS text FROM store.contexts WHERE band = 0))"""
    if words:
        # The empty text keeps DuckDB from looking through all texts before it leaves out those of other features.
        each = "SELECT unnest(feature_ids) AS feature_id FROM words WHERE contains(word, ?)"
        texts = f"""(SELECT feature_id, '' AS nothing FROM ({" INTERSECT ".join([each] * len(words))}))
                    JOIN {texts} USING (feature_id)"""
        never = " || nothing"
    parts = dict.fromkeys((rare_end(query.search), query.search))
    held = " AND ".join(f"contains(text, {folded('?')}{never})" for _ in parts)
    if not ranked:
        return f"SELECT feature_id, 0 AS words, 0 AS hits FROM {texts} WHERE {held}", [*words, *parts]
    return (
        f"""SELECT feature_id, regexp_matches(one, ?)::INTEGER AS words, 1 AS hits FROM (
                SELECT feature_id, unnest(string_split(text, '{BETWEEN}')) AS one FROM {texts} WHERE {held})
            WHERE contains(one, {folded("?")})""",
        [whole_words(query.search), *words, *parts, query.search],
    )


def ordering(query: FeatureQuery) -> str:
    """The clause that sorts rows of `matching`: texts whatever their case, and what has no figure, or no text, last.

    Raises:
        ValueError: if there is no such order.
    """
    if query.order not in orders():  # it enters the statement as it is
        raise ValueError(f"cannot order by {query.order}")
    way = "DESC" if query.descending else "ASC"
    if query.order == RELEVANCE:
        rare = "ASC" if query.descending else "DESC"
        best = f"named = 2 {way}, words {way}, named {way}, hits {way}, density {rare}, "
        return f"ORDER BY {best if query.search else ''}feature_id"
    if query.order == LIKENESS:
        return f"ORDER BY likeness {way}, feature_id" if query.near else "ORDER BY feature_id"
    if query.order == LISTED:
        return f"ORDER BY list_position({list(map(int, query.ids or ()))}::INTEGER[], feature_id) {way}, feature_id"
    text = f"nullif({folded(query.order)}, '')"
    by = text if columns.column(query.order).is_text else query.order
    return f"ORDER BY {by} {way} NULLS LAST, feature_id"


def conditions(query: FeatureQuery) -> tuple[str, list[Any]]:
    """The condition on rows of `matching`, and the values bound in it.

    Raises:
        ValueError: if there is no such range or partition, or a number is none or negative.
    """
    if query.limit < 0 or query.offset < 0 or not set(query.partitions) <= set(PARTITIONS):
        raise ValueError(f"no page of features: {query.partitions}, limit {query.limit}, offset {query.offset}")
    terms: list[str] = ["list_contains(?, partition)"]
    values: list[Any] = [list(query.partitions)]
    for name, ends in query.within:
        if name not in ranges():  # it enters the statement as it is
            raise ValueError(f"cannot filter by {name}")
        terms.append(f"{name} BETWEEN ? AND ?")
        values += map(float, ends)
    if query.alive_only:
        terms.append("alive")
    if query.main_source is not None:
        terms.append("main_source = ?")
        values.append(query.main_source)
    for table, column, value in (("sources", "source", query.source), ("roles", "role", query.role)):
        if value is not None:
            terms.append(
                f"""feature_id IN (SELECT feature_id FROM store.{table} AS part JOIN store.features AS whole
                    USING (feature_id) WHERE {column} = ? AND part.rate > whole.density)"""
            )
            values.append(value)
    if query.label:
        terms.append(f"contains({folded('label')}, {folded('?')})")
        values.append(query.label)
    if query.ids is not None:
        terms.append("feature_id IN (SELECT unnest(?::INTEGER[]))")
        values.append(list(query.ids))
    if query.verdicts:
        terms.append("list_contains(?, verdict)")
        values.append(list(query.verdicts))
    if query.found is not None:
        terms.append("place = 0 AND knows = ?")
        values.append(query.found)
    if query.finding is not None:
        terms.append("finding = ?")
        values.append(query.finding)
    return " AND ".join(terms), values
