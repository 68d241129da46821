"""GGUF files: turned once into a folder of safetensors, which loads in a second instead of a minute.

The folder keeps a mark of the file that it was made of, which is compared at every use: what was made of another file,
or by another version of what is below, is made anew, and a folder without a mark is nobody's but its owner's.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import file_digest
from pathlib import Path

import torch
from gguf import GGUFReader

from dfc.config import DamagedError, MemoryShortError, MissingError, NotLoadedError, UserError, shipped
from dfc.machine import disk, locks, memory, pointers, progress
from dfc.models import gguf_tensors

_CONVERTER = 5  # another number where the same file would be converted to something else
_MARK = "converted.json"
_INSTEAD = "give the model's safetensors instead"


@dataclass(frozen=True)
class _Mark:
    """What a folder was made of.

    Attributes:
        size, modified, digest: of the file; nothing is hashed as long as the first two are what they were.
        converter: the version of the code that made it.
        left_out: tensors of the file that the model does not take.
        files: bytes of each file in the folder.
    """

    size: int
    modified: int
    digest: str
    converter: int
    left_out: tuple[str, ...] = ()
    files: dict[str, int] = field(default_factory=dict)


def folder_of(file: Path, dtype: str) -> Path:
    """The folder beside a GGUF file that holds the same model; made if need be, which takes a minute or two.

    One in float32 serves every dtype; else each has its own.

    Raises:
        MissingError: if there is no such file.
        DamagedError: if transformers cannot read it.
        MemoryShortError: if there is no memory to convert it.
        UserError: if the disk is too small for it, or a folder of somebody else is in its place.
    """
    if (there := converted(file, dtype)) is not None:
        return there
    if not file.exists():
        raise MissingError(
            f"models: {file.absolute()}: no such GGUF file; the demo's two are fetched by `{shipped.DEMO_DATA}`."
        )
    folder = _own_folder(file, dtype)
    if folder.exists() and _mark(folder) is None:
        raise UserError(
            f"{folder}: is where {file.name} would be converted to, and does not say that it was made of it; move it "
            f"elsewhere, or give it as `source` if it is the model that is meant."
        )
    with locks.alone(folder):
        if (there := converted(file, dtype)) is not None:  # by the process that was waited for
            return there
        _convert(file, folder, dtype)
    return folder


def converted(file: Path, dtype: str) -> Path | None:
    """The folder that holds it already, made of this very file; None if there is none."""
    for folder in (_own_folder(file, dtype), _own_folder(file, "float32")):
        mark = _mark(folder)
        if mark is None or mark.converter != _CONVERTER or not mark.files.items() <= _files(folder).items():
            continue  # of another version, or damaged
        if _is_of(mark, file, folder):
            return folder
    return None


def left_out(folder: Path) -> tuple[str, ...]:
    """Tensors of the file that a converted folder does not have, since the model does not take them."""
    mark = _mark(folder)
    return () if mark is None else mark.left_out


def _own_folder(file: Path, dtype: str) -> Path:
    return file.with_name(f"{file.name}-{dtype}")  # not its stem alone, which others use for a model


def _mark(folder: Path) -> _Mark | None:
    try:
        mark = _Mark(**disk.read_json(folder / _MARK))
        return _Mark(**{**asdict(mark), "left_out": tuple(mark.left_out)})
    except (OSError, ValueError, TypeError):
        return None


def _files(folder: Path) -> dict[str, int]:
    """Bytes of each file of a folder but the mark."""
    return {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != _MARK}


def _is_of(mark: _Mark, file: Path, folder: Path) -> bool:
    """Whether a file is the one of a mark; a folder that went on without its file is taken at its word."""
    if not file.exists():
        return True
    there = file.stat()
    if (there.st_size, there.st_mtime_ns) == (mark.size, mark.modified):
        return True
    if there.st_size != mark.size or _digest(file) != mark.digest:
        return False
    with suppress(OSError, UserError):  # it was only copied or touched: hashed once, if the mark can be written
        disk.write_json(folder / _MARK, {**asdict(mark), "modified": there.st_mtime_ns})
    return True


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "blake2b").hexdigest()


def _convert(file: Path, folder: Path, dtype: str) -> None:
    progress.say(f"{file.name}: converting to safetensors in {dtype}, once (a minute or two)")
    kept = getattr(torch, dtype)
    before = file.stat()
    try:
        reader = _read(file)
        _check_whole(reader, file)
        _check_room(reader, file, folder, kept)
        with disk.replacing(folder) as temporary:
            shutil.rmtree(temporary, ignore_errors=True)  # what a process that was killed has left
            temporary.mkdir()
            left = gguf_tensors.write(file, reader, temporary, kept)
            mark = _Mark(before.st_size, before.st_mtime_ns, _digest(file), _CONVERTER, left, _files(temporary))
            disk.write_json(temporary / _MARK, asdict(mark))
            if folder.exists():  # of another file, or damaged: see `folder_of`
                shutil.rmtree(folder)
    except UserError:
        raise
    except Exception as error:  # whatever the reader of a foreign format raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if memory.is_out_of_memory(error):
            raise _no_memory(file, folder, dtype, reason) from error
        if reason.startswith("GGUF model with architecture"):
            raise NotLoadedError(f"{file}: {reason.rstrip('.')} by transformers; {_INSTEAD}.") from error
        raise DamagedError(f"{file}: is not a GGUF file that transformers can read ({reason}).") from error


def _check_whole(reader: GGUFReader, file: Path) -> None:
    """See that a file is a model of its own.

    Raises:
        NotLoadedError: if it is a part of one, or no model.
    """
    count = reader.fields.get("split.count")
    if count is not None and count.contents() > 1:
        raise NotLoadedError(
            f"{file}: is one of {count.contents()} parts of a GGUF file; join them with `llama-gguf-split --merge` of "
            f"llama.cpp and give the whole, or {_INSTEAD}."
        )
    kind = reader.fields.get("general.type")
    if kind is not None and kind.contents() != "model":
        raise NotLoadedError(f"{file}: is no model but of type {kind.contents()}; {_INSTEAD}.")


def _read(file: Path) -> GGUFReader:
    """The file's header.

    Raises:
        DamagedError: if something else lies in the file's place, or a part of it.
    """
    pointers.check(file)
    try:
        return gguf_tensors.Header(file)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        with file.open("rb") as opened:
            begins = opened.read(4) == b"GGUF"
        what = "ends too soon, is damaged, or is of a version that is not known" if begins else "does not begin as one"
        raise DamagedError(
            f"{file}: is not a GGUF file that can be read: it {what} ({file.stat().st_size:,} bytes; "
            f"{str(error).strip()[:120]}); fetch it again."
        ) from error


def _check_room(reader: GGUFReader, file: Path, folder: Path, dtype: torch.dtype) -> None:
    """See that the converted weights fit onto the disk, and what is converted at a time into memory."""
    needed = gguf_tensors.on_disk(reader, dtype)
    free = memory.free_bytes("cpu")
    at_work = gguf_tensors.at_work(reader, dtype)
    name = str(dtype).removeprefix("torch.")
    if free is not None and at_work > free:
        raise _no_memory(file, folder, name, f"{at_work / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    room = shutil.disk_usage(file.parent).free
    if needed > room:
        raise UserError(
            f"{file}: to write its weights as safetensors in {name} takes {needed / 1e9:.1f} GB, and {room / 1e9:.1f} "
            f"GB are free on this disk; make room, lay the file on another disk, or set dtype: bfloat16 for half of it."
        )


def _no_memory(file: Path, folder: Path, dtype: str, reason: str) -> MemoryShortError:
    return MemoryShortError(
        f"{file}: there is no memory to convert it to safetensors in {dtype} ({reason}); close other programs, set "
        f"dtype: bfloat16, convert it on a larger machine (the folder {folder.name} is all that is needed), or take a "
        f"smaller model."
    )
