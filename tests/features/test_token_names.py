"""Names of tokens: different ones are told apart, and nothing that a tokenizer does ends the index."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders
from tokenizers import models as tokenizer_models
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from dfc.features.token_names import token_names
from tests import tiny


def test_a_space_that_begins_a_text_is_kept() -> None:
    """As in the Llama 2 family, whose decoder strips it."""
    vocabulary = {"<unk>": 0, "river": 1, "▁true": 2, "true": 3, "▁": 4, "<0xE4>": 5}
    tokenizer = Tokenizer(tokenizer_models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    assert fast.decode([2]) == fast.decode([3]) == "true"
    assert token_names(fast, 8) == ["<unk>", "river", " true", "true", " ", "<0xE4>", "<6>", "<7>"]


def test_bytes_are_told_apart() -> None:
    tokenizer = tiny.byte_level_tokenizer()
    names = token_names(tokenizer, len(tokenizer))
    assert len(set(names)) == len(names)
    assert names[tokenizer.convert_tokens_to_ids("ä")] == "\\xe4"
    assert names[tokenizer("江").input_ids[0]].startswith(("\\x", "江"))
    assert " the" in names
    assert "<|im_end|>" in names
    metaspace = tiny.metaspace_tokenizer()
    names = token_names(metaspace, len(metaspace))
    assert names[metaspace.convert_tokens_to_ids("<0xE4>")] == "<0xE4>"
    assert len(set(names)) == len(names)


def test_a_tokenizer_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = ByT5Tokenizer()
    assert token_names(tokenizer, 200)[ord("a") + 3] == "a"

    def decode(ids: list[int], **given: object) -> str:
        raise OverflowError(ids)

    monkeypatch.setattr(tokenizer, "decode", decode)
    monkeypatch.setattr(tokenizer, "convert_ids_to_tokens", decode)
    assert token_names(tokenizer, 3) == ["<0>", "<1>", "<2>"]
