"""Nothing that belongs to a model is unpickled: pickled weights may run code of whoever made them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch

from dfc.config import NotLoadedError

_turn = threading.RLock()  # what is put in torch's place is put there by one at a time


@contextmanager
def refused(source: str) -> Iterator[None]:
    """Let no file be unpickled, whatever names it: settings and an index of shards may name any.

    Raises:
        NotLoadedError: where one would be; else what the block raises.
    """

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise _sentence(source)

    with _turn:
        before = torch.load
        torch.load = refuse
        try:
            yield
        except OSError as error:
            if "safetensors" in str(error) and _may_be_pickled(source):
                raise _sentence(source) from None
            raise
        finally:
            torch.load = before


def _may_be_pickled(source: str) -> bool:
    """Whether there are pickled weights; of a repository on the hub, which has files and no safetensors, it is said."""
    folder = Path(source)
    return any(folder.glob("*.bin")) if folder.is_dir() else True


def _sentence(source: str) -> NotLoadedError:
    return NotLoadedError(
        f"{source}: has no weights as safetensors, and pickled ones (.bin) are not opened, since they may run code; "
        f"give a `revision` that has some, or, where you trust it, convert it once: "
        f"`AutoModelForCausalLM.from_pretrained(…).save_pretrained(FOLDER)`, and give that folder."
    )
