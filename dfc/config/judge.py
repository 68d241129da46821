"""The section `judge` of a run's YAML: a language model that scores steered texts and explains features."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from dfc.config.base import Section

Protocol = Literal["openai", "anthropic", "local"]
ANTHROPIC = "https://api.anthropic.com/v1"
"""Where Anthropic's own models are."""

# no user, query or fragment; letters of other scripts have a spelling in ASCII
_ADDRESS = re.compile(r'https?://([\w-]+(\.[\w-]+)*\.?|\[[0-9a-fA-F:.]+\])(:\d+)?(/[!"$->A-~]*)?', re.ASCII)


class JudgeConfig(Section):
    model: str = Field(
        min_length=1,
        description="the language model that judges, as its endpoint calls it; of a local one a hub id or a folder",
    )
    criterion: str | None = Field(
        default=None,
        min_length=1,
        description="what steered texts are scored for from 0 to 10, e.g. how much the text is about law; null: not",
    )
    url: str = Field(
        default="http://localhost:8000/v1",
        description="of an endpoint, to which /chat/completions, or of the protocol anthropic /messages, is added",
    )
    key_variable: str | None = Field(
        default=None,
        description="environment variable that holds the key, DFC_JUDGE_… in name; the key is written nowhere",
    )
    timeout: float = Field(default=60.0, gt=0, description="seconds to wait for an answer")
    temperature: float | None = Field(default=0.0, ge=0, description="of the judge's draws; null: its own default")
    protocol: Protocol = Field(
        default="openai",
        description="openai: what most endpoints speak; anthropic: its messages; local: a model that is loaded here",
    )
    answer_tokens: int = Field(
        default=600, ge=16, description="longest explanation or verdict; a model that thinks first needs thousands"
    )
    parallel: int = Field(default=4, ge=1, le=64, description="requests at once; a local model answers one by one")

    @model_validator(mode="before")
    @classmethod
    def _anthropic_has_an_address(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("protocol") == "anthropic":
            return {"url": ANTHROPIC, **given}
        return given

    @field_validator("url")
    @classmethod
    def _url_is_an_address_without_secrets(cls, url: str) -> str:
        try:
            sound = _ADDRESS.fullmatch(url) and urlsplit(url).hostname and urlsplit(url).port != 0
        except ValueError:  # a port or an IPv6 address that cannot be
            sound = False
        if not sound:
            raise ValueError("give an address such as http://localhost:8000/v1, without a user, a key or a query in it")
        return url.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _key_is_one_that_is_meant_for_judges(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"DFC_JUDGE_[A-Za-z0-9_]+", name):
            # a run made by somebody else could otherwise send any secret of this machine anywhere
            raise ValueError(
                "give the name of an environment variable that begins with DFC_JUDGE_, as DFC_JUDGE_KEY does"
            )
        return name

    @model_validator(mode="after")
    def _key_is_not_sent_in_the_clear(self) -> Self:
        if self.key_variable is not None and not self.local and self.url.startswith("http:"):
            raise ValueError(
                "a key goes to another machine over https alone; correct `url`, or take `key_variable` out"
            )
        return self

    @property
    def title(self) -> str:
        """What the model is called in a list: of one in a folder, the folder's name."""
        return PurePath(self.model).name if self.protocol == "local" else self.model

    @property
    def local(self) -> bool:
        """Whether nothing leaves this machine."""
        return self.protocol == "local" or urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")
