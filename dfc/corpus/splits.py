"""Splits of a dataset that lies here as files: a cloned repository of the hub, or a folder laid out alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dfc.config import SourceConfig, UserError
from dfc.corpus.tally import Unusable, named

DEFAULT = "train"
_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_SHARD = re.compile(r"(?P<split>\w+(?:[.-]\w+)*?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?", re.ASCII)
_NAMED = re.compile(  # as the library `datasets` tells splits: by a word between signs and digits
    rf"(?:^|[-._ 0-9])(?P<split>{'|'.join(sorted(_NAMES, key=len, reverse=True))})(?=$|[-._ 0-9])", re.IGNORECASE
)
_CARD = "README.md"
_LONGEST_CARD = 1 << 22  # characters


@dataclass(frozen=True)
class Chosen:
    """Files of a dataset: those of the split that is asked for, and why each of the others is not read."""

    files: tuple[Path, ...]
    left_out: tuple[tuple[Path, Unusable], ...]


def choose(folder: Path, files: Sequence[Path], source: SourceConfig) -> Chosen | None:
    """The files of a split, where a folder's card or all its files' names tell splits apart; else None.

    Args:
        folder: that is searched.
        files: those in it of a kind that is read, in order.
        source: its `subset` is one of the card's configurations, or a folder.

    Raises:
        UserError: if there is no such split or configuration, naming those there are.
    """
    card = _card(folder)
    if card is None and not any(_shard_of(file) for file in files):
        told = {_split_of(file, folder) for file in files if file != folder / _CARD}
        if None in told or len(told) < 2:
            return None
    by_file = _by_card(folder, files, card or {}, source)
    if by_file is None:
        within = _within(folder, files, source)
        by_file = {file: split for file in within if (split := _split_of(file, folder))}
    data = [file for file in files if file in by_file]
    if not data:
        if card is None:
            return None
        refuse(source)
        about = folder / _CARD
        return Chosen(tuple(file for file in files if file != about), ((about, Unusable("about the dataset")),))
    splits = list(dict.fromkeys(by_file[file] for file in data))
    if (wanted := _wanted(source.split, splits)) is None:
        raise UserError(
            f"{named(source)}{folder}: has no split `{source.split}`; set `split` to one of {', '.join(splits)}."
        )
    left_out = [(file, _of_no_use(file, by_file.get(file), folder)) for file in files if by_file.get(file) != wanted]
    return Chosen(tuple(file for file in data if by_file[file] == wanted), tuple(left_out))


def _of_no_use(file: Path, split: str | None, folder: Path) -> Unusable:
    """Why a file is not read when another split is."""
    if split is not None:
        return Unusable("other split", split)
    return Unusable("about the dataset" if file == folder / _CARD else "other subset")


def are_splits(value: Mapping[str, Any]) -> bool:
    """Whether the rows of an object are under names of splits."""
    lists = [name for name, rows in value.items() if isinstance(rows, list)]
    return bool(lists) and all(name.casefold() in _NAMES for name in lists)


def in_object(value: Mapping[str, Any], source: SourceConfig, place: str) -> list[tuple[str, Any]] | None:
    """The rows of a split, where the lists of an object are splits; those of the others, and other keys, are Unusable.

    Raises:
        UserError: if there is no such split.
    """
    if not are_splits(value):
        return None
    names = [name for name, rows in value.items() if isinstance(rows, list)]
    wanted = _wanted(source.split, names)
    if wanted is None:
        raise UserError(
            f"{named(source)}{place}: has no split `{source.split}`; set `split` to one of {', '.join(names)}."
        )
    return [
        (f"{place} `{name:.40}`", rows if name == wanted else Unusable("other split" if name in names else "other key"))
        for name, rows in value.items()
    ]


def refuse(source: SourceConfig, has_splits: bool = False) -> None:
    """Say which option has no effect where there are no subsets, or no splits either.

    Raises:
        UserError: if `subset` is set, or `split`.
    """
    flaws = [("subset", source.subset)] if source.subset is not None else []
    flaws += [("split", source.split)] if source.split != DEFAULT and not has_splits else []
    for name, value in flaws:
        raise UserError(
            f"{named(source)}{source.path}: is no dataset with {name}s, so that `{name}: {value}` has no effect; "
            f"take it out."
        )


def _card(folder: Path) -> dict[str, Any] | None:
    """What stands at the top of a dataset's card; None if the folder has none."""
    try:
        with (folder / _CARD).open(encoding="utf-8-sig", errors="replace") as file:
            if file.readline().strip() != "---":
                return None
            front = "".join(iter(lambda: _until_mark(file.readline()), ""))[:_LONGEST_CARD]
        content = yaml.safe_load(front)
    except (OSError, yaml.YAMLError, RecursionError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _until_mark(line: str) -> str:
    return "" if line.strip() == "---" else line


def _by_card(
    folder: Path, files: Sequence[Path], card: Mapping[str, Any], source: SourceConfig
) -> dict[Path, str] | None:
    """The split of each file that the card's configuration names; None if it names none."""
    listed = card.get("configs")
    configs = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    configs = [entry for entry in configs if "data_files" in entry or "data_dir" in entry]
    if not configs:
        return None
    names = [str(entry.get("config_name", "default")) for entry in configs]
    usual = [str(entry.get("config_name", "default")) for entry in configs if entry.get("default") is True]
    usual += ["default"] if "default" in names else names if len(names) == 1 else []
    name = source.subset or next(iter(usual), None)
    if name not in names:
        raise UserError(
            f"{named(source)}{folder}: has several configurations; set `subset` to one of {', '.join(names)}."
        )
    known, found = set(files) - {folder / _CARD}, dict[Path, str]()
    config = configs[names.index(name)]
    within = str(config.get("data_dir") or "")
    if ".." in Path(within).parts or Path(within).is_absolute():
        within = ""
    if "data_files" not in config:
        there = [file for file in files if file in known and folder / within in file.parents]
        found = {file: _split_of(file, folder / within) or DEFAULT for file in there}
    for split, pattern in _patterns(config.get("data_files")):
        if not Path(pattern).is_absolute() and ".." not in Path(pattern).parts:
            found |= {file: split for file in sorted((folder / within).glob(_plain(pattern))) if file in known}
    if not found:
        raise UserError(
            f"{named(source)}{folder}: its card names no file of a kind that is read for `{name}`; "
            f"unpack or fetch what it names, or give the path of a file."
        )
    return found


def _patterns(data_files: Any) -> list[tuple[str, str]]:
    """(split, pattern) of what a card says of a configuration's files: a pattern, a list, or either by splits."""
    if isinstance(data_files, str):
        return [(DEFAULT, data_files)]
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    found: list[tuple[str, str]] = []
    for entry in data_files if isinstance(data_files, list) else []:
        if isinstance(entry, dict):
            paths = entry.get("path")
            paths = paths if isinstance(paths, list) else [paths]
            found += [(str(entry.get("split", DEFAULT)), path) for path in paths if isinstance(path, str) and path]
        elif isinstance(entry, str) and entry:
            found.append((DEFAULT, entry))
    return found


def _plain(pattern: str) -> str:
    """A pattern as pathlib has it, where `**` stands alone between slashes and means folders."""
    pattern = re.sub(r"(?<=[^/])\*{2,}", "*", pattern)
    pattern = re.sub(r"\*\*(?=[^/])", "**/*", pattern)
    return f"{pattern}/*" if pattern.endswith("**") else pattern


def _within(folder: Path, files: Sequence[Path], source: SourceConfig) -> list[Path]:
    """The files of a subset, which is a folder where no card says otherwise."""
    if source.subset is None:
        return list(files)
    found = [file for file in files if source.subset in file.relative_to(folder).parent.parts]
    if not found:
        raise UserError(
            f"{named(source)}{folder}: has no folder `{source.subset}` with data; take `subset` out, or name one."
        )
    return found


def _split_of(file: Path, folder: Path) -> str | None:
    """The split that a file's name, or one of its folders, tells; None if none does."""
    if split := _shard_of(file):
        return split
    stem = file.name.split(".")[0]
    for name in (stem, *reversed(file.relative_to(folder).parent.parts)):
        told = {_NAMES[split.casefold()] for split in _NAMED.findall(name)}
        if told:  # of several, the first that it looks for
            return next(split for split in ("train", "validation", "test") if split in told)
    return None


def _shard_of(file: Path) -> str | None:
    shard = _SHARD.fullmatch(file.name.split(".")[0])
    return shard["split"] if shard else None


def _wanted(split: str, splits: Sequence[str]) -> str | None:
    """Which of the splits is asked for, by its name or a usual other one."""
    alike = [name for name in splits if name == split] or [
        name for name in splits if _NAMES.get(name.casefold(), name) == _NAMES.get(split.casefold(), split)
    ]
    return alike[0] if alike else None
