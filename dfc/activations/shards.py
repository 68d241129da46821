"""The activation store: memory-mapped shards of paired rows, and a manifest.

A shard holds consecutive documents. Row r of `a/` and of `b/` belong to the same pair;
`tokens/` leads from a row back to its document, its token in each model and its character.

    activations/
        tokens/00000.parquet    one row a document: ids, shown text and paired indices of both models
        a/00000.rows            (pairs, width_a) residual stream of model A, row-major
        a/00000.norms           (pairs,) float32 norms of these rows
        a/00000.scales          int8 only: (width_a,) and (pairs,) float32 factors of columns and rows
        a/00000.json            written last: format, sizes and checksums of these
        b/...
        manifest.json           written last of all: what the store holds and how it was made
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dfc.activations import int8, manifest
from dfc.config import SIDES, DamagedError, MissingError, Side, UserError
from dfc.machine import disk

Format = Literal["bfloat16", "int8"]
TOKENS_SCHEMA = pa.schema(
    {
        "document": pa.int32(),
        "held_out": pa.bool_(),
        "ids_a": pa.list_(pa.int32()),
        "ids_b": pa.list_(pa.int32()),
        "text_a": pa.string(),  # what was tokenised; null where it is the document's content itself
        "text_b": pa.string(),
        "lengths_a": pa.list_(pa.int32()),  # of each token, so many characters of that text
        "lengths_b": pa.list_(pa.int32()),
        "index_a": pa.list_(pa.int32()),
        "index_b": pa.list_(pa.int32()),
        "ends": pa.list_(pa.int32()),
        "roles": pa.list_(pa.int8()),
    }
)
_OF_ROWS = ["document", "held_out", "index_a", "index_b", "ends", "roles"]  # what tells where a pair comes from
_BYTES_PER_VALUE: dict[Format, int] = {"bfloat16": 2, "int8": 1}
_TOKENS_BYTES_PER_PAIR = 24  # measured on the demo's texts, compressed; a little is added for languages of many tokens


@dataclass(frozen=True)
class Rows:
    """Where the rows of a shard come from; every array is (pairs,).

    Attributes:
        document: number of the document.
        index_a, index_b: the token in each model.
        end: where the pair's content ends in the document's content.
        role: who says it, an index into activations.documents.ROLES.
        held_out: whether the document is kept out of training.
    """

    document: npt.NDArray[np.int32]
    index_a: npt.NDArray[np.int32]
    index_b: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    role: npt.NDArray[np.int8]
    held_out: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.end)


class ActivationStore:
    """Read access to a finished store; nothing is held in memory.

    Raises:
        MissingError: if the store is not finished.
        VersionError: if another version of dfc made it.
        DamagedError: if a file of it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = manifest.read(folder)

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.manifest.shards)

    def raw(self, shard: int) -> Tensor:
        """Both models' stream side by side, unscaled, (pairs, width_a + width_b) bfloat16."""
        return torch.cat([read_rows(self.folder, side, shard) for side in SIDES], dim=1)

    def column_scale(self) -> Tensor:
        """The scale of each column of `raw`, (width_a + width_b,)."""
        return torch.cat([facts.column_scale() for facts in (self.manifest.a, self.manifest.b)])

    def rows(self, shard: int) -> Rows:
        """Where each row of a shard comes from."""
        return flatten(read_tokens(self.folder, shard, _OF_ROWS))

    def keep(self, shard: int, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of a shard's rows count: no first positions, no outliers, nothing that is not finite."""
        limits = self.manifest.a.norm_limit, self.manifest.b.norm_limit
        return keep_mask(self.folder, shard, rows, self.manifest.skip_first, limits)


def keep_mask(
    folder: Path, shard: int, rows: Rows, skip_first: int, limits: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    """The one mask that training, statistics and contexts share, (pairs,)."""
    keep = np.minimum(rows.index_a, rows.index_b) >= skip_first
    for side, limit in zip(SIDES, limits, strict=True):
        keep &= read_norms(folder, side, shard) <= limit  # false for NaN too
    return keep


def flatten(tokens: pa.Table) -> Rows:
    """One entry a pair from one row a document."""
    counts = np.diff(tokens["ends"].combine_chunks().offsets.to_numpy())

    def flat(name: str) -> npt.NDArray[Any]:
        return tokens[name].combine_chunks().flatten().to_numpy()

    return Rows(
        np.repeat(tokens["document"].to_numpy(), counts),
        flat("index_a"),
        flat("index_b"),
        flat("ends"),
        flat("roles"),
        np.repeat(tokens["held_out"].to_numpy(), counts),
    )


def breaks(rows: Rows) -> npt.NDArray[np.bool_]:
    """At which of a shard's pairs something else comes before it in a model than in the document, (pairs,).

    That is so at the first pair of a document, and where a template has put turns into another order.
    """
    apart = np.diff(rows.document, prepend=-1) != 0
    for index in (rows.index_a, rows.index_b):
        rank = np.empty(len(rows), dtype=np.int64)
        rank[np.lexsort((index, rows.document))] = np.arange(len(rows))
        apart |= np.diff(rank, prepend=-1) != 1
    return apart


def tokens_path(folder: Path, shard: int) -> Path:
    """Where a shard's tokens lie."""
    return folder / "tokens" / f"{shard:05d}.parquet"


def count_shards(folder: Path) -> int:
    """Number of shards whose tokens lie there."""
    return len(list((folder / "tokens").glob("*.parquet")))


def read_tokens(folder: Path, shard: int, columns: list[str] | None = None) -> pa.Table:
    """A shard's documents under both tokenizers, with the columns of TOKENS_SCHEMA.

    Raises:
        UserError: if the file is missing or damaged.
    """
    path = tokens_path(folder, shard)
    with disk.reading(path, repair(folder)):
        return pq.read_table(path, columns=columns, page_checksum_verification=True)


def read_shown(folder: Path, shard: int) -> pa.Table:
    """The same with what each token shows, which runs from before this was stored do not have.

    Raises:
        VersionError: if another version of dfc wrote it.
        UserError: if the file is missing or damaged.
    """
    tokens = read_tokens(folder, shard)
    if "text_a" not in tokens.column_names:
        again = f"run `python -m dfc harvest --repair {folder.parent}`, which pairs its texts again"
        raise disk.other_version(tokens_path(folder, shard), "`text_a` is missing", again)
    return tokens


def tokens_table(**columns: Any) -> pa.Table:
    """Documents as a table of TOKENS_SCHEMA.

    Args:
        columns: by name, a value a document; of a column of lists, all documents' values one after another, and where
            each document's begin and, last of all, where all end: two arrays.
    """
    return pa.table([_column(columns[entry.name], entry.type) for entry in TOKENS_SCHEMA], TOKENS_SCHEMA)


def count_pairs(tokens: pa.Table) -> int:
    """Pairs of all documents of a table of TOKENS_SCHEMA."""
    return int(pc.sum(pc.list_value_length(tokens["ends"]), min_count=0).as_py())


def write_tokens(folder: Path, shard: int, tokens: pa.Table) -> None:
    """Write a shard's documents, of TOKENS_SCHEMA; activations of other tokens are taken for not written."""
    for side in SIDES:
        if is_written(folder, side, shard) and not _belong(folder, side, shard, tokens):
            forget(folder, side, shard)
            (folder / "manifest.json").unlink(missing_ok=True)
    with disk.replacing(tokens_path(folder, shard)) as temporary:
        pq.write_table(tokens, temporary, compression="zstd", write_page_checksum=True)


def write_rows(folder: Path, side: Side, shard: int, rows: Tensor, form: Format = "bfloat16") -> None:
    """Write a shard's rows, (pairs, width), and their norms; the facts last, since they mark these as done."""
    parts: dict[str, npt.NDArray[Any]] = {"norms": rows.float().norm(dim=1).numpy()}
    if form == "int8":
        codes, scales = int8.quantise(rows.float())
        parts |= {"scales": scales.numpy(), "rows": codes.numpy()}
    else:
        parts |= {"rows": rows.to(torch.bfloat16).contiguous().view(torch.int16).numpy()}
    for name, values in parts.items():
        with disk.replacing(_path(folder, side, shard, name)) as temporary:
            values.tofile(temporary)
    sums = {name: _checksum(_path(folder, side, shard, name)) for name in parts}
    facts = {"format": form, "pairs": rows.shape[0], "width": rows.shape[1], "checksums": sums}
    disk.write_json(_path(folder, side, shard, "json"), facts)


def as_stored(folder: Path, side: Side, shard: int, rows: Tensor) -> Tensor:
    """Other rows of a model, (pairs, width), as they would be read back from a shard: bfloat16.

    An int8 shard rounds them with its own factors of the columns.

    Raises:
        UserError: if a file of the shard is missing or has another size than was written.
    """
    facts = _facts(folder, side, shard)
    if facts["format"] == "bfloat16":
        return rows.to(torch.bfloat16)
    scales = np.fromfile(_checked(folder, side, shard, "scales", facts), dtype=np.float32)
    columns = torch.from_numpy(scales[: facts["width"]])
    codes, factors = int8.codes(rows.float(), columns)
    return int8.rows_of(codes, columns, factors)


def read_rows(folder: Path, side: Side, shard: int) -> Tensor:
    """One model's rows of a shard, (pairs, width) bfloat16; memory-mapped where they are stored so.

    Raises:
        UserError: if a file is missing or has another size than was written.
    """
    facts = _facts(folder, side, shard)
    pairs, width = facts["pairs"], facts["width"]
    path = _checked(folder, side, shard, "rows", facts)
    if facts["format"] == "bfloat16":
        return torch.from_file(str(path), size=pairs * width, dtype=torch.bfloat16).view(pairs, width)
    codes = torch.from_file(str(path), size=pairs * width, dtype=torch.int8).view(pairs, width)
    scales = torch.from_numpy(np.fromfile(_checked(folder, side, shard, "scales", facts), dtype=np.float32))
    columns, factors = scales.split([width, pairs])
    return int8.rows_of(codes, columns, factors)


def read_norms(folder: Path, side: Side, shard: int) -> npt.NDArray[np.float32]:
    """Norms of a shard's rows, unscaled, (pairs,).

    Raises:
        UserError: if the file is missing or has another size than was written.
    """
    return np.fromfile(_checked(folder, side, shard, "norms", _facts(folder, side, shard)), dtype=np.float32)


def is_written(folder: Path, side: Side, shard: int) -> bool:
    """Whether one model's rows of a shard were written whole."""
    return _path(folder, side, shard, "json").exists()


def damage(folder: Path, side: Side, shard: int) -> str | None:
    """What is wrong with one model's rows of a shard, by their checksums; None if nothing is."""
    try:
        facts = _facts(folder, side, shard)
        for name, checksum in facts["checksums"].items():
            path = _checked(folder, side, shard, name, facts)
            if _checksum(path) != checksum:
                return f"{path}: has another checksum than was written"
    except UserError as error:
        return error.problem
    return None


def forget(folder: Path, side: Side, shard: int) -> None:
    """Take one model's rows of a shard for not written."""
    _path(folder, side, shard, "json").unlink(missing_ok=True)


def predicted_bytes(pairs: int, widths: tuple[int, int], form: Format) -> int:
    """Size of a store of so many pairs."""
    values = sum(widths) * _BYTES_PER_VALUE[form]
    factors = 2 * 4 * (2 if form == "int8" else 1)  # norms, and int8's scales, of both models
    return pairs * (values + factors + _TOKENS_BYTES_PER_PAIR)


def repair(folder: Path) -> str:
    """What to do about a damaged store."""
    return f"run `python -m dfc harvest --repair {folder.parent}`, which makes again what is damaged and nothing else"


def _belong(folder: Path, side: Side, shard: int, tokens: pa.Table) -> bool:
    """Whether activations that lie there are those of these tokens; where the old ones are damaged, by their number."""
    try:
        there = read_tokens(folder, shard)
        return bool(there.equals(tokens.select(there.column_names)))  # an older version wrote fewer columns
    except UserError:
        with suppress(UserError):
            return bool(_facts(folder, side, shard)["pairs"] == count_pairs(tokens))
    return False


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    flat, first = values
    return pa.ListArray.from_arrays(pa.array(first, pa.int32()), pa.array(flat, kind.value_type), kind)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _path(folder: Path, side: Side, shard: int, name: str) -> Path:
    return folder / side / f"{shard:05d}.{name}"


def _facts(folder: Path, side: Side, shard: int) -> dict[str, Any]:
    path = _path(folder, side, shard, "json")
    with disk.reading(path, repair(folder)):
        facts: dict[str, Any] = disk.read_json(path)
        pairs, width = facts["pairs"], facts["width"]
        sizes = {"norms": 4 * pairs, "rows": pairs * width * _BYTES_PER_VALUE[facts["format"]]}
        return {**facts, "sizes": {**sizes, "scales": 4 * (pairs + width)}}


def _checked(folder: Path, side: Side, shard: int, name: str, facts: dict[str, Any]) -> Path:
    """A file of a shard, if it has the size that was written."""
    path, size = _path(folder, side, shard, name), facts["sizes"][name]
    if not path.exists():
        problem = f"{path}: is missing"
        raise MissingError(f"{problem}; {repair(folder)}.", problem)
    if path.stat().st_size != size:
        problem = f"{path}: has {path.stat().st_size} bytes instead of {size}"
        raise DamagedError(f"{problem}; {repair(folder)}.", problem)
    return path
