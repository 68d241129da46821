"""Documents: plain texts and chats, and how a model is given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfc.config import UserError
from dfc.requests import Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLAIN = "text"  # the role of a plain text's only turn


@dataclass(frozen=True)
class Document:
    """A plain text or a chat. Its content is what its turns say, one after another, without any template."""

    source: str
    turns: tuple[Turn, ...]

    @property
    def is_chat(self) -> bool:
        return self.turns[0].role != PLAIN


@dataclass(frozen=True)
class Rendering:
    """A document as one model reads it.

    `turns` says where each turn's content lies: (start in `text`, start in the document's content, length).
    """

    text: str
    turns: tuple[tuple[int, int, int], ...]
    add_special_tokens: bool


def plain(text: str, source: str = "") -> Document:
    """A plain text as a document."""
    return Document(source, (Turn(PLAIN, text),))


def render(document: Document, tokenizer: PreTrainedTokenizerBase, answer: bool = False) -> Rendering:
    """Put a document into a model's own chat template; a base model gets `User: …`, a plain text stays as it is.

    With `answer`, what introduces the assistant's next turn is added, so that a model goes on with it.

    The template is filled with placeholders that are then replaced, so that the place of each turn's
    content is known exactly, whatever the template adds, trims or reorders.

    Raises:
        UserError: if the template refuses the chat.
    """
    if not document.is_chat:
        content = document.turns[0].content
        return Rendering(content, ((0, 0, len(content)),), add_special_tokens=True)
    if tokenizer.chat_template is None:
        frame = "\n\n".join(f"{turn.role.title()}: {_mark(i)}" for i, turn in enumerate(document.turns))
        frame += "\n\nAssistant:" if answer else ""
    else:
        frame = _fill_template(document, tokenizer, answer)
    pieces: list[str] = []
    places: list[tuple[int, int, int]] = []
    position = content_start = read = 0
    for index, turn in enumerate(document.turns):
        at = frame.find(_mark(index), read)
        if at >= 0:  # a template may leave a turn out
            pieces += [frame[read:at], turn.content]
            position += at - read
            places.append((position, content_start, len(turn.content)))
            position += len(turn.content)
            read = at + len(_mark(index))
        content_start += len(turn.content)
    pieces.append(frame[read:])
    return Rendering("".join(pieces), tuple(places), add_special_tokens=tokenizer.chat_template is None)


def _mark(index: int) -> str:
    """Placeholder of a turn: private-use characters that no template holds."""
    return f"\ue000{index}\ue001"


def _fill_template(document: Document, tokenizer: PreTrainedTokenizerBase, answer: bool) -> str:
    """A template filled with placeholders.

    Some refuse a system turn, or one speaker twice in a row, or an assistant who speaks first. Then a system turn is
    the beginning of the user's, turns of one speaker are one, and an assistant answers an empty turn.
    """
    messages = [{"role": turn.role, "content": _mark(index)} for index, turn in enumerate(document.turns)]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer))
    except Exception:  # templates raise what they like
        pass
    try:
        return str(tokenizer.apply_chat_template(_alternating(messages), tokenize=False, add_generation_prompt=answer))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{tokenizer.name_or_path}: its chat template refuses a chat of {len(messages)} turns ({reason:.120}); "
            f"take turns out, or give the text as a plain one."
        ) from error


def _alternating(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same said by a user and an assistant in turn, the user first."""
    turns: list[dict[str, str]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": ""})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{message['content']}"
        else:
            turns.append({"role": role, "content": message["content"]})
    return turns


def encodable(text: str) -> str:
    """A string that every tokenizer accepts: no lone surrogates."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
