"""Generate text while a vector is added to the residual stream, token by token, through nnsight.

A trace's source is read once per process, so all traces live here and none in a page.
"""

from __future__ import annotations

import math
import queue
import threading
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from dfc import corpus
from dfc.config import UserError
from dfc.corpus import Document, Turn
from dfc.models import LoadedModel, stream_of
from dfc.steering.vectors import SteeringVector

# The loop over tokens asks for one more than are generated, and says so.
warnings.filterwarnings("ignore", message=r".*was never reached: the loop asked for a step")


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: greedily at temperature 0."""

    max_new_tokens: int = 60
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def stream(
    model: LoadedModel,
    prompt: str,
    sampling: Sampling,
    vector: SteeringVector | None = None,
    strength: float = 0.0,
    chat: bool = False,
) -> Generator[str, None, None]:
    """Pieces of the continuation, as soon as they are there; closing the iterator frees the model within a token.

    Args:
        model: generates; others wait until it is free.
        prompt: what the text goes on from.
        sampling: how tokens are drawn.
        vector: what is added to the stream at the model's site, at every position, times `strength`.
        strength: α.
        chat: put the prompt into the model's chat template as a user's turn.

    Raises:
        UserError: at once, if the prompt is empty or too long or the strength is not finite.
    """
    ids = encode_prompt(model, prompt, sampling.max_new_tokens, chat)
    if not math.isfinite(strength):
        raise UserError(f"the strength must be a finite number, not {strength}.")
    added = None if vector is None or strength == 0 else strength * vector.vector.to(model.device)
    return _text(model, _ids(model, ids, sampling, added))


def encode_prompt(model: LoadedModel, prompt: str, max_new_tokens: int, chat: bool) -> Tensor:
    """Token ids of a prompt, (1, length), as the corpus's documents are given to the model.

    Raises:
        UserError: if it is empty, or leaves no room for the answer.
    """
    if not prompt.strip():
        raise UserError("the prompt is empty; type what the models shall go on from.")
    if chat:
        rendering = corpus.render(Document("prompt", (Turn("user", prompt),)), model.tokenizer, answer=True)
    else:
        rendering = corpus.render(corpus.plain(prompt), model.tokenizer)
    ids = model.tokenizer(rendering.text, add_special_tokens=rendering.add_special_tokens)["input_ids"]
    room = model.max_tokens - max_new_tokens
    if len(ids) > room:
        raise UserError(
            f"the prompt has {len(ids)} tokens in {model.title}, whose context leaves room for {max(room, 0)} beside "
            f"{max_new_tokens} new ones; shorten it, or ask for fewer new tokens."
        )
    return torch.tensor([ids])


class _CancelledError(Exception):
    """Unwinds a generation that nobody reads any more."""


class _Queue(BaseStreamer):
    """Hands each new token over to the reading thread."""

    def __init__(self) -> None:
        self.tokens: queue.Queue[int | None] = queue.Queue()
        self.cancelled = threading.Event()
        self._in_prompt = True

    def put(self, value: Tensor) -> None:
        if self._in_prompt:  # the first call brings the prompt
            self._in_prompt = False
            return
        if self.cancelled.is_set():
            raise _CancelledError
        self.tokens.put(int(value.reshape(-1)[0]))

    def end(self) -> None:
        self.tokens.put(None)


def _ids(model: LoadedModel, prompt: Tensor, sampling: Sampling, added: Tensor | None) -> Iterator[int]:
    """Generated token ids; generation runs in a thread of its own and ends when the iterator is closed."""
    tokens, failures = _Queue(), []

    def run() -> None:
        try:
            with model.lock:
                if not tokens.cancelled.is_set():
                    _generate(model, prompt.to(model.device), sampling, added, tokens)
        except _CancelledError:
            pass
        except BaseException as error:  # raised again in the reading thread
            failures.append(error)
        finally:
            tokens.end()

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    try:
        while (token := tokens.tokens.get()) is not None:
            yield token
        worker.join()
        if failures:
            raise failures[0]
    finally:
        tokens.cancelled.set()


def _generate(model: LoadedModel, prompt: Tensor, sampling: Sampling, added: Tensor | None, tokens: _Queue) -> None:
    settings: dict[str, Any] = {
        "max_new_tokens": sampling.max_new_tokens,
        "do_sample": sampling.temperature > 0,
        "streamer": tokens,
    }
    if sampling.temperature > 0:
        settings |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
    inputs = {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}
    live, site = model.live, model.live_site
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(sampling.seed)
        if added is None:
            with live.generate(inputs, **settings):
                pass
        else:
            with live.generate(inputs, **settings) as tracer:
                for _ in tracer.iter[:]:
                    residual = stream_of(site.output)
                    residual += added


def _text(model: LoadedModel, ids: Iterator[int]) -> Generator[str, None, None]:
    """Decode incrementally, holding back characters whose bytes are not complete."""
    seen: list[int] = []
    given = ""
    for token in ids:
        seen.append(token)
        text = model.tokenizer.decode(seen, skip_special_tokens=True)
        if text.endswith("\ufffd") or len(text) <= len(given):
            continue
        yield text[len(given) :]
        given = text
