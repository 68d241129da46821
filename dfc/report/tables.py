"""Tables of features as files."""

from __future__ import annotations

from typing import Any

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8, which spreadsheets open with its Chinese and without running any of it.

    Lists are joined by spaces. Text that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP
    advises: corpus text is written by strangers.
    """
    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(_text)
    return safe.to_csv(index=False).encode("utf-8-sig")


def _text(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif hasattr(value, "__iter__"):
        text = " ".join(str(part) for part in value)
    else:
        text = "" if pd.isna(value) else str(value)
    text = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
