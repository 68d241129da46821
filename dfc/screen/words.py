"""What findings are looked through for: flags of data/screening.yaml, and the words of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from dfc.config import MissingError, Section, SettingsError, UserError, shipped

_FILE = "data/screening.yaml"
_UNSPACED = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
"""Letters of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Chinese and Japanese."""
_LETTER = rf"(?:(?!{_UNSPACED})\w)"


class Flag(Section):
    """A subject that a person wants to see first.

    Attributes:
        title: what it is called.
        description: what it means, for whoever judges.
        query: a sentence that texts of it are near to.
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
        return [one.word for one in self._listed if one.needle in folded and one.pattern.search(line)]

    @cached_property
    def _listed(self) -> list[_Word]:
        return [_word(word) for word in dict.fromkeys(word for listed in self.words.values() for word in listed)]


@dataclass(frozen=True)
class _Word:
    """A word as it stands in the file, what every match of it holds in lower case, and how it matches.

    To look for hundreds of texts that are rarely there is many times as fast as for one pattern of them all.
    """

    word: str
    needle: str
    pattern: re.Pattern[str]


def _word(word: str) -> _Word:
    """A word whole where its script has spaces, and any ending in place of a last `*`."""
    stem = " ".join(word.rstrip("*").split())
    before = rf"(?<!{_LETTER})" if re.match(_LETTER, stem) else ""
    after = rf"(?!{_LETTER})" if stem == word and re.match(_LETTER, stem[-1]) else ""
    case = re.IGNORECASE if word == word.lower() else re.NOFLAG
    return _Word(word, stem.lower(), re.compile(f"{before}{re.escape(stem)}{after}", case))


def load(path: Path | None = None) -> dict[str, Flag]:
    """The flags of a file, by name; by default of one's own data/screening.yaml, or the one that ships.

    Raises:
        MissingError: if there is no such file.
        SettingsError: if it is not YAML, or holds anything but flags.
        UserError: if it cannot be read.
    """
    place = path or Path(shipped.here_or_shipped(_FILE))
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, Flag]).validate_python(content)
    except FileNotFoundError:
        raise MissingError(f"{place}: no such file; the flags that ship are in {shipped.ROOT / _FILE}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise SettingsError(f"{place}: `{where}`: {first['msg']}; see {shipped.ROOT / _FILE}.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{place}: is not valid YAML ({' '.join(str(error).split())}).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}: cannot be read ({error}); give a YAML file of flags.") from None
