"""A feature store and the evidence beside it, attached read-only to an in-memory connection.

One cursor per call, so that any number of threads and processes may read at once. Files that were replaced are attached
anew at the next call; whoever still reads the old ones reads them to the end. What both hold together stands in views:
`judged`, the features with the columns of the evidence, null where there is none; `reference`, `neighbours`, `facts`;
`meanings` and `continuations` with `heard`, and the facts about these, `meaning` and `own_words`, empty where there are
none of these features. A label that a person gave, or a judge whose explanation holds, stands in the place of the one
made of words.
`features`, `models`, `logit_counts` and `words` are as this version writes them, whichever wrote the file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dfc.config import VersionError
from dfc.store import EVIDENCE_READABLE, EVIDENCE_TABLES, MEANING_VERSION, OWN_WORDS_VERSION, columns, errors
from dfc.store.column import Column
from dfc.store.explanations import ExplanationStore

Stamp = tuple[tuple[int, int, int], ...]
"""Of the files as they are now: another one means other content."""
_connections: dict[Path, tuple[Stamp, duckdb.DuckDBPyConnection]] = {}
_lock = threading.Lock()
_NO_WORDS = "'' AS word, []::INTEGER[] AS feature_ids, []::USMALLINT[] AS contexts"
_NO_COUNTS = "0 AS feature_id, '' AS side, 0::FLOAT AS least, 0::FLOAT AS most, []::INTEGER[] AS counts"
_FIRST = ("reference", "neighbours")  # tables of evidence of older versions that mean what they mean now

IDENTITY = "SELECT md5(string_agg(fingerprint, '' ORDER BY feature_id)) FROM store.features"
"""What tells the features of one training from those of another: evidence is of these alone."""


def evidence_path(features: Path) -> Path:
    """Where the evidence of a feature store lies."""
    return features.with_name("evidence.duckdb")


def meaning_path(features: Path) -> Path:
    """Where the vectors of what features mean lie."""
    return features.with_name("meaning.duckdb")


def meaning_sums(features: Path) -> Path:
    """Where a reading of what features mean keeps what it has so far."""
    return features.with_name("meaning.duckdb.sums")


def explanations_path(features: Path) -> Path:
    """Where what judges and people say of features lies."""
    return features.with_name("explanations.duckdb")


def own_words_path(features: Path) -> Path:
    """Where what both models wrote themselves lies."""
    return features.with_name("own_words.duckdb")


def connection(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the features attached as `store` and the views made; shared while the files stay the same.

    That of replaced files is not closed here, since others may read from it; it goes with the last of its cursors.

    Raises:
        FileNotFoundError: if there are no features.
        UserError: if the evidence is damaged.
    """
    path = path.resolve()
    state = stamp(path)
    if not path.exists():
        raise FileNotFoundError(path)
    with _lock:
        known = _connections.get(path)
        if known is not None and known[0] == state:
            return known[1]
        made = duckdb.connect(config={"python_enable_replacements": False})  # no table is a variable of this code
        made.execute(f"ATTACH '{_quoted(path)}' AS store (READ_ONLY)")
        _make_current(made)
        _take_labels(made, explanations_path(path))
        _make_views(made, _origin(made))
        if evidence_path(path).exists():
            _connect_evidence(made, evidence_path(path))
        for beside in (_MEANING, _OWN_WORDS):
            _connect_beside(made, path, beside)
        _connections[path] = state, made
        return made


def stamp(path: Path) -> Stamp:
    """Of a feature store and what lies beside it, as far as it is there."""
    beside = (evidence_path, meaning_path, own_words_path, explanations_path)
    files = (path, *(one(path) for one in beside))
    states = [file.stat() for file in files if file.exists()]
    return tuple((state.st_ino, state.st_mtime_ns, state.st_size) for state in states)


def identity(path: Path) -> str:
    """Of the features of a store."""
    with connection(path).cursor() as cursor:
        [(digest,)] = cursor.execute(IDENTITY).fetchall()
    return str(digest)


def _connect_evidence(made: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the views anew from the evidence, if it is of these features; if not, say in `facts` that it is stale.

    Raises:
        UserError: if the evidence cannot be read, by its kind.
    """
    again = f"delete it and run `python -m dfc verify {path.parent}`"  # which reads the store first
    try:
        made.execute(f"ATTACH '{_quoted(path)}' AS proof (READ_ONLY)")
        facts = dict(made.execute("SELECT key, value FROM proof.run WHERE json_valid(value)").fetchall())
        [(identity,)] = made.execute(f"SELECT to_json(({IDENTITY}))").fetchall()
        if facts.get("schema_version") not in {str(one) for one in EVIDENCE_READABLE} or "identity" not in facts:
            problem = f"{path}: was written with schema {facts.get('schema_version')}, not {EVIDENCE_READABLE[-1]}"
            raise VersionError(f"{problem}; {again}.", problem)
        ours = facts["identity"] == identity
        _make_views(
            made,
            "proof" if ours else _origin(made),
            stale=not ours,
            older=facts["schema_version"] != str(EVIDENCE_READABLE[-1]),
        )
    except duckdb.Error as error:
        raise errors.explained(error, path, "readable evidence", again) from None


@dataclass(frozen=True)
class _Beside:
    """A file beside the features of which nothing but its own views are made.

    Attributes:
        path: where it lies.
        database: under which name it is attached.
        facts: the view of its table `run`.
        tables: views of its other tables, each with a statement that gives none.
        version: that is read.
        command: that makes it; the run follows.
        what: it holds.
    """

    path: Callable[[Path], Path]
    database: str
    facts: str
    tables: Mapping[str, str]
    version: int
    command: str
    what: str


_MEANING = _Beside(
    meaning_path,
    "meant",
    "meaning",
    {"meanings": "SELECT 0 AS feature_id, []::FLOAT[] AS vector"},
    MEANING_VERSION,
    "python -m dfc meaning {}",
    "what features mean",
)
_OWN_WORDS = _Beside(
    own_words_path,
    "said",
    "own_words",
    {
        "continuations": """SELECT 0 AS number, '' AS side, '' AS source, false AS chat, '' AS beginning, '' AS text,
                            0 AS characters, 0::DOUBLE AS nats_a, 0::DOUBLE AS nats_b, []::VARCHAR[] AS pieces,
                            []::FLOAT[] AS gaps, 0 AS first, 0 AS last""",
        "heard": "SELECT 0 AS number, '' AS side, 0 AS feature_id, 0::FLOAT AS max, 0 AS piece",
    },
    OWN_WORDS_VERSION,
    "python -m dfc screen {} --rollouts",
    "what both models wrote themselves",
)


def _connect_beside(made: duckdb.DuckDBPyConnection, features: Path, beside: _Beside) -> None:
    """Make the views of a file beside the features; empty without the file, or if it is of other features.

    Raises:
        UserError: if the file cannot be read, by its kind.
    """
    path = beside.path(features)
    again = f"delete it and run `{beside.command.format(path.parent)}`"
    for name, empty in beside.tables.items():
        made.execute(f"CREATE VIEW {name} AS {empty} LIMIT 0")
    made.execute(f"CREATE VIEW {beside.facts} AS SELECT '' AS key, '' AS value LIMIT 0")
    if not path.exists():
        return
    try:
        made.execute(f"ATTACH '{_quoted(path)}' AS {beside.database} (READ_ONLY)")
        facts = dict(made.execute(f"SELECT key, value FROM {beside.database}.run").fetchall())
        [(identity,)] = made.execute(f"SELECT to_json(({IDENTITY}))").fetchall()
        if facts.get("schema_version") != str(beside.version):
            problem = f"{path}: was written with schema {facts.get('schema_version')}, not {beside.version}"
            raise VersionError(f"{problem}; {again}.", problem)
        if facts.get("identity") == identity:
            for name in beside.tables:
                made.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {beside.database}.{name}")
            made.execute(f"CREATE OR REPLACE VIEW {beside.facts} AS SELECT key, value FROM {beside.database}.run")
    except duckdb.Error as error:
        raise errors.explained(error, path, f"a readable file of {beside.what}", again) from None


def _origin(made: duckdb.DuckDBPyConnection) -> str:
    """Where evidence stands if none lies beside the features: in an older store itself, or nowhere."""
    return "store" if "evidence" in _tables(made, "store") else ""


def _make_current(made: duckdb.DuckDBPyConnection) -> None:
    """Views of tables that have changed: figures that an older file does not hold are null, and one factor for a whole
    stream is that of each of its columns."""
    held = _columns(made, "store", "features")
    lacking = "".join(f", NULL::{one.kind} AS {one.name}" for one in columns.FEATURES if one.name not in held)
    made.execute(f"CREATE VIEW measured AS SELECT *{lacking} FROM store.features")
    made.execute("CREATE VIEW features AS FROM measured")
    whole = _columns(made, "store", "models").get("scale") == "DOUBLE"
    scale = "list_resize([scale], width, scale)" if whole else "scale"
    made.execute(f"CREATE VIEW models AS SELECT * REPLACE ({scale} AS scale) FROM store.models")
    counted = "logit_counts" in _tables(made, "store")
    spread = "store.logit_counts" if counted else f"(SELECT {_NO_COUNTS} LIMIT 0)"
    made.execute(f"CREATE VIEW logit_counts AS FROM {spread}")
    words = "store.words" if "words" in _tables(made, "store") else f"(SELECT {_NO_WORDS} LIMIT 0)"
    made.execute(f"CREATE VIEW words AS FROM {words}")


def _take_labels(made: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Put labels that people gave, and judges' that hold, in the place of those made of words.

    They are copied, so that whoever writes the file need not wait for its readers.

    Raises:
        UserError: if the file cannot be read, by its kind.
    """
    kept = ExplanationStore(path)
    ids = kept.features()
    known = "SELECT feature_id, fingerprint FROM store.features WHERE list_contains(?, feature_id)"
    prints = dict(made.execute(known, [ids]).fetchall()) if ids else {}
    labels = [one.label for one in kept.told(prints).values() if one.label is not None]
    if not labels:
        return
    made.execute("CREATE TABLE said (feature_id INTEGER, label VARCHAR, origin VARCHAR)")
    made.executemany("INSERT INTO said VALUES (?, ?, ?)", [(one.feature_id, one.text, one.origin) for one in labels])
    made.execute(
        """CREATE OR REPLACE VIEW features AS
           SELECT measured.* REPLACE (coalesce(said.label, measured.label) AS label,
                                        coalesce(said.origin, measured.label_origin) AS label_origin,
                                        CASE WHEN said.label IS NULL THEN measured.label_auroc END AS label_auroc)
           FROM measured LEFT JOIN said USING (feature_id)"""
    )


def _make_views(made: duckdb.DuckDBPyConnection, origin: str, stale: bool = False, older: bool = False) -> None:
    """The views, with the evidence of a database; empty if it is none, or what it was too early to hold.

    Args:
        made: has the databases.
        origin: the one with the evidence; empty for none.
        stale: whether evidence is there that is of other features.
        older: whether the evidence is of an older version; what stands in an older store is, too.
    """
    held = _columns(made, origin, "evidence")
    figures = ", ".join(f"{_figure(one, held)} AS {one.name}" for one in columns.EVIDENCE)
    evidence = f"{origin}.evidence" if origin else "(SELECT NULL::INTEGER AS feature_id LIMIT 0)"
    joined = f"features LEFT JOIN {evidence} USING (feature_id)"
    made.execute(f"CREATE OR REPLACE VIEW judged AS SELECT features.*, {figures} FROM {joined}")
    nothing = {
        "reference": "SELECT ''::VARCHAR AS measure, '' AS population, []::FLOAT[] AS quantiles LIMIT 0",
        "findings": """SELECT 0 AS finding, '' AS side, 0 AS feature_id, 0 AS members, 0 AS documents, 0::FLOAT AS gap,
                       0::FLOAT AS error, 0::FLOAT AS held_out_gap, 0::FLOAT AS held_out_error, 0::FLOAT AS plain_gap,
                       0::FLOAT AS plain_error, 0::FLOAT AS effective, 0::FLOAT AS false_discovery LIMIT 0""",
        "texts": """SELECT '' AS trait, '' AS name, 0::BIGINT AS documents, 0::BIGINT AS pairs, 0::DOUBLE AS gap,
                    0::DOUBLE AS error LIMIT 0""",
        "pair_gaps": "SELECT 0 AS document, []::INTEGER[] AS ends, []::FLOAT[] AS gaps LIMIT 0",
        "neighbours": "SELECT 0 AS feature_id, 0 AS other_id, '' AS kind, 0::FLOAT AS similarity LIMIT 0",
    }
    held_tables = {"": (), "store": _FIRST}.get(origin, _FIRST if older else EVIDENCE_TABLES)
    if "pair_gaps" not in _tables(made, origin):
        held_tables = tuple(name for name in held_tables if name != "pair_gaps")
    for name, empty in nothing.items():
        rows = f"SELECT * FROM {origin}.{name}" if name in held_tables else empty
        made.execute(f"CREATE OR REPLACE VIEW {name} AS {rows}")
    made.execute(f"CREATE OR REPLACE VIEW facts AS {_facts(origin, stale, older, 'surprise_gap' in held)}")


def _figure(one: Column, held: Collection[str]) -> str:
    """A column of the evidence, where the file holds it; else what it is made of, or null."""
    if one.name in held:
        return f"coalesce({one.name}, {one.sql})" if one.sql else one.name
    return one.sql if one.sql and held else f"NULL::{one.kind}"


def _facts(origin: str, stale: bool, older: bool, surprised: bool) -> str:
    """Facts of the features, and of the evidence in place of those of the same name.

    `surprised` says whether an older store has a column for how surprised the models are.
    """
    if origin == "proof":
        own = "SELECT key, value FROM proof.run WHERE key != 'schema_version' AND json_valid(value)"
    elif stale:
        own = "SELECT 'stale' AS key, 'true' AS value"
    else:  # an older store does not say by which rule it was judged
        known = f"SELECT count(surprise_gap) FROM {origin}.evidence" if surprised else "SELECT 0"
        own = f"""SELECT 'rule' AS key, CASE WHEN ({known}) > 0 THEN '"surprise"' ELSE '"probes"' END AS value
                  FROM judged HAVING count(verdict) > 0"""
    if origin == "store" or (origin and older):
        own += " UNION ALL SELECT 'outdated' AS key, 'true' AS value"
    return f"""WITH own AS ({own}) FROM own
               UNION ALL SELECT key, value FROM store.run WHERE key NOT IN (SELECT key FROM own)"""


def _tables(made: duckdb.DuckDBPyConnection, database: str) -> set[str]:
    rows = made.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [database]).fetchall()
    return {name for (name,) in rows}


def _columns(made: duckdb.DuckDBPyConnection, database: str, table: str) -> dict[str, str]:
    """Name and SQL type of each column of a table."""
    rows = made.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ? AND table_name = ?",
        [database, table],
    ).fetchall()
    return dict(rows)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
