"""Chat templates in files of their own."""

from __future__ import annotations

from pathlib import Path

from dfc.config import UserError
from dfc.corpus import json_rows
from dfc.corpus.encodings import decoded


def read_template(path: str) -> str:
    """A chat template in a file: Jinja, or JSON that has it as `chat_template`, as models are published.

    Raises:
        UserError: if it cannot be read, is empty, or is no Jinja template.
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        text = decoded(Path(path).expanduser().read_bytes(), path)
        if path.lower().endswith(".json"):
            text = _in_json(text, path)
        if not text.strip():
            raise UserError(f"{path}: this chat template is empty; give another file.")
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(
            text.replace("{% generation %}", "")
        )
    except OSError as error:
        raise UserError(f"{path}: this chat template cannot be read ({error.strerror}); give another file.") from None
    except TemplateSyntaxError as error:
        if "generation" not in str(error):
            raise UserError(f"{path}: is no chat template ({error!s:.120}); give a Jinja file.") from None
    return text


def _in_json(text: str, path: str) -> str:
    """The template in `chat_template.json` or `tokenizer_config.json`; of several, the default."""
    value = json_rows.parsed(text)
    found = value.get("chat_template") if isinstance(value, dict) else None
    if isinstance(found, list):  # [{name, template}], as tokenizers keep several
        found = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
    if isinstance(found, dict):
        found = found.get("default")
    if not isinstance(found, str):
        raise UserError(f"{path}: has no text under `chat_template`; give a Jinja file, or JSON with one.")
    return found
