"""Which tokens a model has vectors for, and how long a text it takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    MptConfig,
    OpenAIGPTConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    WhisperConfig,
)

from dfc import models
from dfc.config import ModelConfig, UserError
from dfc.families import build
from tests import tiny
from tests.models.copies import refused


class TestVocabularies:
    def test_a_template_that_needs_a_token_without_a_vector(
        self, tiny_models: tuple[Path, Path], tmp_path: Path
    ) -> None:
        shutil.copytree(tiny_models[0], tmp_path / "model")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
        tokenizer.add_special_tokens({"additional_special_tokens": ["<said>"]})
        tokenizer.chat_template = "{% for turn in messages %}<said>{{ turn.content }}{% endfor %}"
        tokenizer.save_pretrained(tmp_path / "model")
        refused("its tokenizer has tokens up to .* key `tokenizer` of this model", source=str(tmp_path / "model"))

    def test_a_token_without_a_vector_that_is_put_before_every_text(
        self, tiny_models: tuple[Path, Path], tmp_path: Path
    ) -> None:
        shutil.copytree(tiny_models[1], tmp_path / "model")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
        tokenizer.add_special_tokens({"bos_token": "[BOS]"})
        number = tokenizer.bos_token_id
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="[BOS] $A", pair="[BOS] $A $B", special_tokens=[("[BOS]", number)]
        )
        tokenizer.save_pretrained(tmp_path / "model")
        refused(f"its tokenizer has tokens up to {number}, and .* key `tokenizer`", source=str(tmp_path / "model"))

    def test_a_vocabulary_with_holes(self, tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
        """Fewer tokens than the model has vectors, and one of them beyond these."""
        shutil.copytree(tiny_models[1], tmp_path / "model")
        few = Tokenizer(WordLevel({"<unk>": 0, "a": 1, "b": 5_000}, unk_token="<unk>"))
        PreTrainedTokenizerFast(tokenizer_object=few, unk_token="<unk>").save_pretrained(tmp_path / "model")
        refused("its tokenizer has tokens up to 5000, and .* key `tokenizer`", source=str(tmp_path / "model"))

    def test_a_token_for_padding_that_was_added_later(self, tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
        """It needs no vector, since what is padded is masked."""
        shutil.copytree(tiny_models[0], tmp_path / "model")
        before = models.load(ModelConfig(source=str(tmp_path / "model"), layer=0))
        assert before.padding == before.tokenizer.pad_token_id
        tiny.add_padding(tmp_path / "model")
        loaded = models.load(ModelConfig(source=str(tmp_path / "model"), layer=0))
        rows = len(loaded.model.get_input_embeddings().weight)
        assert loaded.tokenizer.pad_token_id >= rows > loaded.padding

    def test_a_tokenizer_that_is_far_too_small_is_said(
        self, tiny_models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        loaded = models.load(ModelConfig(source=str(tiny_models[0]), layer=0))
        assert "its tokenizer has" not in capsys.readouterr().err
        loaded.model.resize_token_embeddings(2_000)
        tiny.save(tmp_path / "model", loaded.model, loaded.tokenizer)
        models.load(ModelConfig(source=str(tmp_path / "model"), layer=0))
        assert "model: its tokenizer has 420 tokens, and the model vectors for 2,000; if" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        (MptConfig(max_seq_len=32), 32),
        (OpenAIGPTConfig(n_positions=48), 48),
        (WhisperConfig(max_target_positions=40, is_encoder_decoder=False), 40),
        (RobertaConfig(max_position_embeddings=66, pad_token_id=1), 64),
        (RobertaConfig(max_position_embeddings=66, pad_token_id=0), 65),
        (RobertaConfig(max_position_embeddings=9_999, pad_token_id=1), 1024),
    ],
)
def test_how_long_a_text_may_be(settings: PreTrainedConfig, longest: int, tmp_path: Path) -> None:
    settings.save_pretrained(tmp_path)
    assert models.describe(ModelConfig(source=str(tmp_path), layer=0, max_tokens=1024)).max_tokens == longest


@pytest.mark.parametrize(("kind", "limit"), [("mpt", {"max_seq_len": 32}), ("roberta", {"is_decoder": True})])
def test_a_text_as_long_as_it_may_be_is_read(kind: str, limit: dict[str, object], tmp_path: Path) -> None:
    settings = build.settings(kind)
    for name, value in limit.items():
        setattr(settings, name, value)
    tiny.save(tmp_path, AutoModelForCausalLM.from_config(settings), build.tokenizer())
    loaded = models.load(ModelConfig(source=str(tmp_path), layer=0))
    with torch.no_grad():
        for tokens in (loaded.max_tokens, loaded.max_tokens + 1):
            try:
                loaded.model(torch.full((1, tokens), 7))
            except (IndexError, RuntimeError):
                assert tokens > loaded.max_tokens
            else:
                assert tokens == loaded.max_tokens


def test_positions_that_are_all_taken_by_padding(tmp_path: Path) -> None:
    RobertaConfig(max_position_embeddings=2, pad_token_id=1).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"`max_position_embeddings: 2`, which is no .* behind the padding token; correct"
    ):
        models.describe(ModelConfig(source=str(tmp_path), layer=0))


def test_a_token_without_a_vector_is_said_before_any_text_is_read(
    tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_models[0], tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<only-in-templates>"]})
    tokenizer.save_pretrained(tmp_path / "model")
    assert models.load(ModelConfig(source=str(tmp_path / "model"), layer=1)).tokenizer.is_fast
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(tmp_path / "model")
    refused(r"its tokenizer has tokens up to \d+, and the model vectors for the first", source=str(tmp_path / "model"))
