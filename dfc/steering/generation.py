"""Generate text while a model's residual stream is edited, token by token, through nnsight.

Several continuations are generated in one batch, each with a program of its own, so that a baseline costs little beside
what is steered. A trace's source is read once per process, so all traces live in this room and none in a page.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from dfc import corpus
from dfc.config import UserError
from dfc.corpus import Document, Encoding, Rendering
from dfc.models import LoadedModel, ends, together
from dfc.models.streams import Form
from dfc.requests import Prompt, Sampling, Turn
from dfc.steering.answers import Answer, Piece
from dfc.steering.draws import Draw, Keep
from dfc.steering.edits import Program, apply
from dfc.steering.threaded import Tokens, read

# The loop over tokens asks for one more than are generated, and says so.
warnings.filterwarnings("ignore", message=r".*was never reached: the loop asked for a step")

BASELINE = Program()


@dataclass(frozen=True)
class Row:
    """A continuation that is to be written: of which prompt, under which program, and the seed of its draws.

    Rows of one seed share their random numbers.
    """

    prompt: Prompt
    program: Program = BASELINE
    seed: int = 0


@dataclass
class Record:
    """What a batch leaves behind beside its texts; it grows with every token.

    Attributes:
        logits: what each token was drawn from, at temperature 1, (rows, vocabulary) for each token.
        off: how far the edits of each row missed, (rows, longest prompt and new tokens); see `edits.apply`.
        begins: the first column of `off` that belongs to each row.
    """

    logits: list[Tensor] = field(default_factory=list)
    off: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    begins: list[int] = field(default_factory=list)


def stream(
    model: LoadedModel, prompt: Prompt, sampling: Sampling, program: Program = BASELINE
) -> Generator[str, None, None]:
    """Pieces of one continuation, as soon as they are there; closing the iterator frees the model within a token.

    Args:
        model: generates; others wait until it is free.
        prompt: what the text goes on from.
        sampling: how tokens are drawn.
        program: what is done to the stream at the model's site.

    Raises:
        UserError: at once, if the prompt is empty or too long, or the model cannot be steered.
        MemoryShortError: later, if memory runs out.
    """
    return _texts(stream_rows(model, prompt, sampling, [program]))


def stream_rows(
    model: LoadedModel,
    prompt: Prompt,
    sampling: Sampling,
    programs: Sequence[Program],
    stopped: Callable[[int], bool] = lambda row: False,
) -> Generator[Piece, None, None]:
    """Pieces of several continuations of one prompt, generated together, one for each program.

    With `[BASELINE, program]`, the baseline and the steered text side by side. `stopped` is asked at each token, and
    while nothing comes, whether a row shall end where it is; once all have, the model is free. Raises as `stream` does.
    """
    return stream_batch(model, [Row(prompt, program, sampling.seed) for program in programs], sampling, stopped)


def stream_batch(
    model: LoadedModel,
    rows: Sequence[Row],
    sampling: Sampling,
    stopped: Callable[[int], bool] = lambda row: False,
    record: Record | None = None,
) -> Generator[Piece, None, None]:
    """Pieces of continuations of any prompts, generated together; each is what it would be alone.

    `sampling.seed` is not used: rows have their own. Raises as `stream` does.
    """
    if any(row.program.actions for row in rows):
        model.check_edits()
    given = {prompt: _given(model, prompt, sampling.max_new_tokens) for prompt in {row.prompt: None for row in rows}}
    said = [
        _Said(
            model,
            corpus.opening(given[row.prompt][0].text) if _is_chat(model, row.prompt) else "",
            _is_chat(model, row.prompt) and not model.is_chat,
        )
        for row in rows
    ]
    prompts = [given[row.prompt][1].ids for row in rows]
    return _pieces(_Batch(model, prompts, rows, sampling, record), stopped, said)


def generate(model: LoadedModel, prompt: Prompt, sampling: Sampling, programs: Sequence[Program]) -> list[Answer]:
    """The same continuations, whole. Raises as `stream` does."""
    answers = [Answer() for _ in programs]
    for piece in stream_rows(model, prompt, sampling, programs):
        answers[piece.row].add(piece)
    return answers


def encode_prompt(model: LoadedModel, prompt: Prompt, max_new_tokens: int) -> Tensor:
    """Token ids of a prompt, (1, length), as the corpus's documents are given to the model.

    Args:
        model: whose tokenizer and template are used.
        prompt: what the text goes on from.
        max_new_tokens: which need room in the model's context, too.

    Raises:
        UserError: if it is empty, or leaves no room for the answer.
    """
    return torch.tensor([_given(model, prompt, max_new_tokens)[1].ids])


def remarks(model: LoadedModel, prompt: Prompt) -> list[str]:
    """What of a prompt the model is not given as it stands: special tokens that it spells out. Raises likewise."""
    encoding = _given(model, prompt, 0)[1]
    said = []
    if encoding.spelled:
        said.append(f"the prompt spells out special tokens, such as {encoding.spelled}, which are read as text")
    if encoding.unsure:
        said.append(
            f"it cannot be told whether the prompt spells out {encoding.unsure}, which is read as a special token"
        )
    return said


def _given(model: LoadedModel, prompt: Prompt, max_new_tokens: int) -> tuple[Rendering, Encoding]:
    """A prompt as the model is given it, and its tokens."""
    if not prompt.text.strip():
        raise UserError("the prompt is empty; type what the models shall go on from.")
    if _is_chat(model, prompt):
        turns = (*prompt.earlier, Turn("user", prompt.text))
        document = Document("prompt", tuple(Turn(turn.role, corpus.encodable(turn.content)) for turn in turns))
    else:
        document = corpus.plain(corpus.encodable(prompt.text))
    rendering = corpus.render(document, model.tokenizer, answer=True, moment=model.config.date)
    [encoding] = corpus.encode([rendering], model.tokenizer)
    room = model.max_tokens - max_new_tokens
    if len(encoding.ids) > room:
        raise UserError(
            f"the prompt has {len(encoding.ids)} tokens in {model.title}, whose context leaves room for "
            f"{max(room, 0)} beside {max_new_tokens} new ones; shorten it, or ask for fewer new tokens."
        )
    return rendering, encoding


def _is_chat(model: LoadedModel, prompt: Prompt) -> bool:
    """Whether a model is given a prompt as the last turn of a chat."""
    return prompt.chat and (bool(prompt.earlier) or model.is_chat)


class _Said:
    """What the tokens of a continuation say, and whether its turn ended without a token for that.

    Args:
        model: whose tokens they are.
        opening: the mark of thoughts that the template has put before them.
        framed: whether the prompt is a chat without a template, of which a model may write the other's turns, too.
    """

    def __init__(self, model: LoadedModel, opening: str, framed: bool) -> None:
        self._tokenizer, self._opening, self._framed = model.tokenizer, opening, framed

    def __call__(self, tokens: Sequence[int], whole: bool = False) -> tuple[str, bool]:
        text = corpus.spoken(self._tokenizer, tokens)
        said, ended = corpus.until_next_turn(text, whole) if self._framed else (text, False)
        return self._opening + said, ended


@dataclass(frozen=True)
class _Batch:
    """What is generated together: a model's rows with the token ids of their prompts."""

    model: LoadedModel
    prompts: list[list[int]]
    rows: Sequence[Row]
    sampling: Sampling
    record: Record | None


class Editor:
    """Applies programs to a batch's stream, the prompts first, then with each new token.

    A model without a cache runs the whole text for each token, one with a cache the new token alone: what comes are
    the last positions of the text as far as it is written.
    """

    def __init__(self, programs: Sequence[Program], prompts: Sequence[Sequence[int]], form: Form) -> None:
        self._programs, self._form = programs, form
        self._prompt = self._written = max(map(len, prompts))
        self.begins = [self._prompt - len(prompt) for prompt in prompts]
        self.off = torch.zeros(len(prompts), 0)

    @property
    def idle(self) -> bool:
        return not any(program.actions for program in self._programs)

    def __call__(self, output: Any) -> None:
        """Edit what the block gives for the next token, in place."""
        offset = self._written - self._form.read(output).shape[1]
        off = apply(self._programs, output, self._form, offset, self._prompt, self.begins)
        self.off = torch.cat([self.off[:, :offset], off.cpu()], dim=1)
        self._written += 1


def _generate(batch: _Batch, tokens: Tokens) -> None:
    model, sampling, record = batch.model, batch.sampling, batch.record
    ids, mask = together.padded(model, batch.prompts)
    inputs = {"input_ids": ids, "attention_mask": mask}
    draws: list[LogitsProcessor] = [] if record is None else [Keep(record.logits)]
    if sampling.temperature > 0:
        draws.append(Draw(sampling, [row.seed for row in batch.rows]))
    settings: dict[str, Any] = {
        "max_new_tokens": sampling.max_new_tokens,
        "do_sample": False,
        "logits_processor": LogitsProcessorList(draws),
        "repetition_penalty": 1.0,
        "eos_token_id": ends(model) or None,
        "use_cache": True,  # training leaves it off in the settings of some models
        "pad_token_id": model.padding,
        "streamer": tokens,
    }
    live, site = model.live, model.live_site
    edit = Editor([row.program for row in batch.rows], batch.prompts, model.form)
    with torch.no_grad():
        if edit.idle:
            with live.generate(inputs, **settings):
                pass
        else:
            with live.generate(inputs, **settings) as tracer:
                for _ in tracer.iter[:]:
                    edit(site.output)
    if record is not None:
        record.begins, record.off = edit.begins, edit.off


def _pieces(batch: _Batch, stopped: Callable[[int], bool], said: Sequence[_Said]) -> Generator[Piece, None, None]:
    """Decode incrementally, holding back incomplete characters and what may be the beginning of another's turn."""
    last, rows, tokens = ends(batch.model), len(batch.rows), Tokens()
    seen: list[list[int]] = [[] for _ in range(rows)]
    held: list[list[int]] = [[] for _ in range(rows)]
    given, ended = [""] * rows, [False] * rows

    def rest(row: int) -> Iterator[Piece]:
        """What was held back of a continuation that is at its end."""
        text = said[row](seen[row], whole=True)[0].rstrip("\ufffd")
        if held[row]:
            yield Piece(row, text[len(given[row]) :], tuple(held[row]))
        held[row] = []

    with closing(read(batch.model, lambda: _generate(batch, tokens), tokens)) as batches:
        for came in batches:
            halted = [stopped(row) for row in range(rows)]
            ended = [end or halt for end, halt in zip(ended, halted, strict=True)]
            if any(halted) and all(ended):
                break
            if not came:
                yield Piece(0, "", (), waiting=not tokens.begun.is_set())
            for row, token in enumerate(came):
                if ended[row]:
                    continue
                if token not in last:
                    seen[row].append(token)
                    held[row].append(token)
                    text, ended[row] = said[row](seen[row])
                    if not ended[row]:
                        if not text.endswith("\ufffd") and len(text) > len(given[row]):
                            yield Piece(row, text[len(given[row]) :], tuple(held[row]))
                            given[row], held[row] = text, []
                        continue
                    # The model speaks for somebody else: the tokens that only do so are none of its answer.
                    while held[row] and said[row](seen[row][:-1], whole=True)[0].startswith(text):
                        seen[row].pop()
                        held[row].pop()
                ended[row] = True
                yield from rest(row)
                yield Piece(row, "", (), ended=True)
    for row in range(rows):
        yield from rest(row)


def _texts(pieces: Generator[Piece, None, None]) -> Generator[str, None, None]:
    with closing(pieces):
        for piece in pieces:
            if piece.text:
                yield piece.text
