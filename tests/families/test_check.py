"""A type of each kind, tried as `python -m dfc families` tries all; and that what is wrong is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfc.config import UserError
from dfc.families import build, check, page
from dfc.models import LoadedModel, streams, unembedding


@pytest.mark.parametrize(
    ("model_type", "path"),
    [
        ("llama", "model.layers"),
        ("gemma2", "model.layers"),  # caps
        ("gpt2", "transformer.h"),
        ("openai-gpt", "transformer.h"),  # lists for tuples, no cache
        ("rwkv", "rwkv.blocks"),
        ("mamba2", "backbone.layers"),
        ("recurrent_gemma", "model.layers"),
        ("lfm2", "model.layers"),  # a norm of another name
        ("jamba", "model.layers"),  # blocks of two classes
        ("zamba2", "model.layers"),
        ("mixtral", "model.layers"),
        ("granite", "model.layers"),  # scaled
        ("longcat_flash", "model.layers"),  # counts halves of blocks
        ("ctrl", "transformer.h"),
        ("xglm", "model.layers"),
        ("gemma3", "model.language_model.layers"),  # with a tower for pictures
        ("git", "git.encoder.layer"),
        ("moshi", "model.layers"),
        ("deepseek_v4", "model.layers"),  # several streams
        ("gemma3n_text", "model.layers"),
    ],
)
def test_a_type_of_each_kind_passes(model_type: str, path: str) -> None:
    row = check.check(model_type)
    assert (row.wrong, row.refused, row.not_built) == ("", "", "")
    assert (row.blocks, row.layers) == (path, build.LAYERS)
    assert row.is_whole


def test_what_is_refused_and_what_cannot_be_built_is_said() -> None:
    refused, broken = check.check("roberta"), check.check("gemma4_assistant")
    assert "as in an encoder" in refused.refused
    assert broken.not_built
    assert not refused.passes
    assert not broken.passes
    text = page.page([refused, broken, check.Row("x", wrong="reading: differs")])
    assert "| `roberta` | roberta (RobertaForCausalLM): what it makes" in text
    assert "| `x` | reading: differs |" in text
    assert page.summary([refused, broken, check.Row("x", wrong="reading")]) == (
        "Of 3 types, 2 could be built tiny. 1 of these are encoders or encoder–decoders, and refused. Of the other 1, "
        "0 pass whole, 0 but for the lens or steering, and 0 are refused in a sentence; wrong: x."
    )


def test_the_checks_see_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading another block, an edit of another size, a lens that is off."""
    build.make("llama", tmp_path)
    assert check.check_folder("llama", tmp_path).passes
    with monkeypatch.context() as patch:
        patch.setattr(LoadedModel, "site", property(lambda model: model.blocks[2]))
        assert check.check_folder("llama", tmp_path).wrong.startswith("generating")
    with monkeypatch.context() as patch:
        add = streams.Form.add
        patch.setattr(streams.Form, "add", lambda form, output, row, added: add(form, output, row, 1.01 * added))
        assert check.check_folder("llama", tmp_path).wrong.startswith("editing")
    with monkeypatch.context() as patch:
        patch.setattr(LoadedModel, "unembed", lambda model, stream: 1.01 * model.anatomy.lens(stream))
        assert check.check_folder("llama", tmp_path).wrong.startswith("lens")
    tail = unembedding.own_tail
    monkeypatch.setattr(unembedding, "own_tail", lambda *given: lambda stream: 1.01 * tail(*given)(stream))
    assert not check.check_folder("llama", tmp_path).has_lens


def test_a_type_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"lama: this transformers has no such type .* did you mean llama\?"):
        build.chosen(["lama"])
    assert len(build.chosen()) > 130
    assert len(torch.tensor(build.tokenizer()("The old bridge").input_ids)) > 3
