"""What findings are looked through for: flags of data/screening.yaml, and the words of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from dfc.config import MissingError, Section, SettingsError, UserError, shipped

_FILE = "data/screening.yaml"
_UNSPACED = ((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Chinese and Japanese."""


class Flag(Section):
    """A subject that a person wants to see first.

    Attributes:
        title: what it is called.
        description: what it means, for whoever judges.
        query: a sentence that texts of it are near to, by which features are looked for in meaning.
        prompts: the set of prompts on which a sweep is offered; None: any.
        words: by language.
    """

    title: str = Field(min_length=1, max_length=80)
    description: str
    query: str
    prompts: str | None = None
    words: Mapping[str, tuple[str, ...]]

    @field_validator("words")
    @classmethod
    def _there_are_some(cls, words: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        if not any(words.values()) or not all(word.strip(" *") for listed in words.values() for word in listed):
            raise ValueError("must hold at least one word, and no empty one")
        return words

    def found(self, text: str) -> list[str]:
        """Its words that stand in a text, as they stand in the file."""
        line = " ".join(text.split())
        folded = line.lower()
        # That a word is not there at all is asked first, and not within a call: of hundreds hardly one is there.
        there = ((one, folded if one.any_case else line) for one in self._listed)
        return [one.word for one, shown in there if one.stem in shown and one.stands(shown)]

    @cached_property
    def _listed(self) -> list[_Word]:
        return [_word(word) for word in dict.fromkeys(word for listed in self.words.values() for word in listed)]


@dataclass(frozen=True)
class _Word:
    """A word as it stands in the file, and how it matches.

    Attributes:
        stem: without a last `*`.
        begins, ends: whether no letter may stand before it, and after it.
        any_case: whether it is looked for in the text in lower case.
    """

    word: str
    stem: str
    begins: bool
    ends: bool
    any_case: bool

    def stands(self, text: str) -> bool:
        """Whether it stands in a text as a word; of one for any case the text is given in lower case."""
        start = text.find(self.stem)
        while start >= 0:
            stop = start + len(self.stem)
            if not (self.begins and start and _goes_on(text[start - 1])) and not (
                self.ends and stop < len(text) and _goes_on(text[stop])
            ):
                return True
            start = text.find(self.stem, start + 1)
        return False


def _word(word: str) -> _Word:
    stem = " ".join(word.rstrip("*").split())
    return _Word(word, stem, _goes_on(stem[0]), stem == word and _goes_on(stem[-1]), word == word.lower())


def _goes_on(mark: str) -> bool:
    """Whether a character belongs to the same word as a letter beside it: a letter or digit of a script with spaces."""
    code = ord(mark)
    return mark.isalnum() and not any(low <= code <= high for low, high in _UNSPACED)


def place() -> Path:
    """Where the flags lie: one's own data/screening.yaml, or the one that ships."""
    return Path(shipped.here_or_shipped(_FILE))


def load(path: Path | None = None) -> dict[str, Flag]:
    """The flags of a file, by name; by default of the one at `place`.

    Raises:
        MissingError: if there is no such file.
        SettingsError: if it is not YAML, or holds anything but flags.
        UserError: if it cannot be read.
    """
    path = path or place()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, Flag]).validate_python(content)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; the flags that ship are in {shipped.ROOT / _FILE}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise SettingsError(f"{path}: `{where}`: {first['msg']}; see {shipped.ROOT / _FILE}.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML ({' '.join(str(error).split())}).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a YAML file of flags.") from None
