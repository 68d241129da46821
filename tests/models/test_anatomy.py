"""What a model is made of: found by running it, refused in words, and the lens taken from its own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    CohereConfig,
    FalconH1Config,
    GraniteConfig,
    OPTConfig,
    PreTrainedConfig,
)

from dfc import models
from dfc.config import ModelConfig, UserError
from dfc.families import build
from dfc.models import LoadedModel, stream_of, streams
from dfc.models.anatomy import OWN
from dfc.models.streams import Form, Several
from dfc.requests import Edit, Prompt, Sampling
from dfc.steering.analysis import analyse
from dfc.steering.edits import Action, Program
from dfc.steering.generation import BASELINE, generate
from dfc.steering.strength import approximated
from dfc.steering.vectors import SteeringVector


def made(model_type: str, folder: Path, **changes: Any) -> Path:
    """A tiny model of a type, some of its settings changed."""
    if not changes:
        build.make(model_type, folder)
        return folder
    settings = build.settings(model_type)
    for name, value in changes.items():
        setattr(settings, name, value)
    return saved(settings, folder)


def saved(settings: PreTrainedConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(settings).save_pretrained(folder)
    build.tokenizer().save_pretrained(folder)
    return folder


def load(folder: Path, **keys: Any) -> LoadedModel:
    return models.load(ModelConfig.model_validate({"source": str(folder), "layer": 1, **keys}))


def last_stream(model: LoadedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What the last block gives as a plain hook sees it, (length, width), and the model's own logits."""
    caught: list[Tensor] = []
    handle = model.blocks[-1].register_forward_hook(lambda *given: caught.append(stream_of(given[2]).clone()))
    with torch.no_grad():
        logits = model.model(ids).logits
    handle.remove()
    return caught[0][0], logits[0]


IDS = torch.arange(20, 29)[None]


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (CohereConfig, {"logit_scale": 16.0}),
        (GraniteConfig, {"logits_scaling": 8.0}),
        (FalconH1Config, {"lm_head_multiplier": 25.0}),
        (OPTConfig, {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),  # as OPT-350m: projected, no norm
    ],
    ids=["scaled", "divided", "multiplied", "projected"],
)
def test_the_lens_has_all_that_the_model_does_after_its_blocks(
    settings: type[PreTrainedConfig], changes: dict[str, Any], tmp_path: Path
) -> None:
    model = load(made(settings.model_type, tmp_path, **changes))
    stream, logits = last_stream(model, IDS)
    torch.testing.assert_close(model.unembed(stream), logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.unembed(stream[None, 3]), logits[None, 3], atol=1e-4, rtol=1e-4)
    assert model.anatomy.lens_words == OWN
    assert not any("forward" in vars(block) for block in model.blocks)  # all is as it was


@pytest.mark.parametrize("model_type", ["jamba", "zamba", "zamba2", "olmo_hybrid", "granitemoehybrid", "nemotron_h"])
def test_blocks_of_several_classes_in_one_list(model_type: str, tmp_path: Path) -> None:
    model = load(made(model_type, tmp_path))
    assert (model.blocks_path, len(model.blocks)) == ("model.layers", build.LAYERS)
    assert len({type(block) for block in model.blocks}) > 1 or model_type in ("granitemoehybrid", "nemotron_h")
    assert load(tmp_path, blocks="model.layers").blocks_path == "model.layers"


def test_a_list_that_is_named_and_holds_no_blocks(tmp_path: Path) -> None:
    """Zamba2 has lists of adapters within its blocks."""
    lists = models.loading.sites.all_lists(load(made("zamba2", tmp_path)).model)
    [inner] = [path for path in lists if path != "model.layers"][:1]
    with pytest.raises(UserError, match=r"key `blocks` of this model") as error:
        load(tmp_path, blocks=inner)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model_type", "sentence"),
    [
        ("bert", "depends on later tokens, as in an encoder; give a causal language model"),
        ("xlnet", "depends on later tokens"),
        ("bart", "is an encoder–decoder"),
        ("hrm_text", r"is run \d times for each token"),
        ("reformer", "two streams side by side, and neither is the residual stream alone"),
        ("blt", "name no number of blocks and no width"),
        ("mllama", r"of model\.layers, 3 are not run on a text alone"),
    ],
)
def test_what_is_no_stack_of_causal_blocks_is_refused_in_words(model_type: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        load(made(model_type, tmp_path))
    assert "\n" not in str(error.value)


def test_an_encoder_that_was_made_a_decoder_is_read(tmp_path: Path) -> None:
    settings = build.settings("bert")
    settings.is_decoder = True
    model = BertLMHeadModel(settings).eval()
    assert isinstance(settings, BertConfig)
    model.save_pretrained(tmp_path)
    build.tokenizer().save_pretrained(tmp_path)
    stream, logits = last_stream(load(tmp_path), IDS)
    torch.testing.assert_close(load(tmp_path).unembed(stream), logits, atol=1e-4, rtol=1e-4)


class TestALensThatIsNotThere:
    """Inkling2 mixes what all its blocks gave into its logits."""

    def test_the_model_goes_without_and_says_so(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = load(made("inkling2_text", tmp_path))
        said = capsys.readouterr().err
        assert "goes without a logit lens: its logits do not come from its last block alone" in said
        assert "`final_norm`" in said
        with pytest.raises(UserError, match="there is no logit lens"):
            model.unembed(torch.zeros(1, model.width))

    def test_a_norm_that_is_named_gives_one_and_says_how_far_it_is_off(self, tmp_path: Path) -> None:
        model = load(made("inkling2_text", tmp_path), final_norm="model.norm")
        stream = torch.randn(3, model.width)
        expected = model.model.lm_head(model.model.model.norm(stream))
        torch.testing.assert_close(model.unembed(stream), expected)
        assert "as was asked" in model.anatomy.lens_words
        for wrong, sentence in (("model.no", "has no module `model.no`"), ("model.layers", "takes no stream")):
            with pytest.raises(UserError, match=sentence):
                load(tmp_path, final_norm=wrong)


class TestSeveralStreams:
    @pytest.mark.parametrize("model_type", ["deepseek_v4", "hy_v4"])
    def test_the_stream_is_what_the_model_makes_of_them(self, model_type: str, tmp_path: Path) -> None:
        model = load(made(model_type, tmp_path))
        four, logits = last_stream(model, IDS)
        assert four.shape == (IDS.shape[1], 4, model.width)
        stream = model.form.read(four[None])[0]
        torch.testing.assert_close(stream, model.model.model.hc_head(four[None])[0])
        torch.testing.assert_close(model.unembed(stream), logits, atol=1e-4, rtol=1e-4)
        assert model.anatomy.edits

    def test_altup(self, tmp_path: Path) -> None:
        """The mean that Gemma 3n takes after its blocks; a projection that loses directions takes no edits."""
        model = load(made("gemma3n_text", tmp_path))
        caught: list[Tensor] = []
        handle = model.model.model.norm.register_forward_pre_hook(lambda module, given: caught.append(given[0]))
        with torch.no_grad():
            held: list[Tensor] = []
            last = model.blocks[-1].register_forward_hook(lambda *given: held.append(given[2].clone()))
            model.model(IDS)
        handle.remove()
        last.remove()
        torch.testing.assert_close(model.form.read(held[0]), caught[0])
        assert model.anatomy.edits
        assert model.anatomy.lens_words == OWN

    def test_what_takes_no_edits_is_read_and_not_steered(self, tmp_path: Path) -> None:
        """Qwen4-Exp's own way ends with a norm: however much is written, the stream grows no longer."""
        model = load(made("qwen4_exp_text", tmp_path))
        four, logits = last_stream(model, IDS)
        torch.testing.assert_close(model.unembed(model.form.read(four[None])[0]), logits, atol=1e-4, rtol=1e-4)
        assert not model.anatomy.edits
        vector = SteeringVector("a", 0, torch.ones(model.width))
        program = Program((Action(Edit("a", 0), vector),))
        with pytest.raises(UserError, match="cannot be steered: it carries 4 streams, as `Qwen4ExpTextGatedResidual`"):
            generate(model, Prompt("The old bridge"), Sampling(3), [program])
        assert generate(model, Prompt("The old bridge"), Sampling(3), [BASELINE])[0].tokens

    def test_a_step_moves_the_stream_by_what_is_wanted(self) -> None:
        """Shares that depend on what the streams hold."""
        torch.manual_seed(0)
        mix = 0.1 * torch.randn(4, 4 * 8)

        def collapse(held: Tensor) -> Tensor:
            shares = torch.sigmoid(held.flatten(2) @ mix.T)
            return (shares[..., None] * held).sum(dim=2)

        several = Several("", collapse, collapse, lambda stream: stream.unsqueeze(2).repeat(1, 1, 4, 1))
        held, added = torch.randn(1, 5, 4, 8), torch.randn(1, 5, 8)
        added[0, 2] = 0
        step, off = several.step(held, added)
        assert off.shape == (1, 5)
        assert off.max() < 1e-3
        assert off[0, 2] == 0
        torch.testing.assert_close(collapse(held + several.spread(step)) - collapse(held), added, atol=1e-3, rtol=1e-3)
        assert (step[0, 2] == 0).all()

    def test_what_an_edit_misses_is_told_at_each_position(self) -> None:
        """A stream that does not grow beyond a size: what goes further comes only near."""
        several = Several(
            "",
            lambda held: 3 * torch.tanh(held.mean(dim=2)),
            lambda held: 3 * torch.tanh(held.mean(dim=2)),
            lambda stream: stream.unsqueeze(2).repeat(1, 1, 2, 1),
        )
        form, held, added = Form(several), torch.zeros(1, 3, 2, 8), torch.zeros(3, 8)
        added[0, 0], added[1, 0] = 1.0, 6.0
        off = form.add(held, 0, added)
        missed = (form.read(held)[0] - added).norm(dim=-1)
        torch.testing.assert_close(off, missed / added.norm(dim=-1).clamp(min=1e-9), atol=1e-3, rtol=1e-2)
        assert off[0] < 0.01 < 0.3 < off[1]
        assert off[2] == 0

    def test_an_analysis_tells_what_a_steered_text_misses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = load(made("deepseek_v4", tmp_path))
        vector = SteeringVector("a", 0, torch.ones(model.width))
        program = Program((Action(Edit("a", 0), vector),))
        found = analyse(model, IDS, [7, 8, 9], program)
        assert found.off.shape == (IDS.shape[1] + 3,)
        assert 0 < found.off.max() < 0.01
        assert approximated(found) == ""
        monkeypatch.setattr(streams, "_ROUNDS", 1)
        assert "positions the edit is approximate" in approximated(analyse(model, IDS, [7, 8, 9], program))


def test_settings_that_speak_of_another_number_of_blocks(tmp_path: Path) -> None:
    model = load(made("llama", tmp_path))
    with pytest.raises(
        UserError, match=r"model\.layers holds 4 modules, and its settings speak of 5 blocks; correct the number in"
    ):
        models.anatomy.examine(model.model, model.tokenizer, model.config, layers=5, width=model.width, layer=0)
    with pytest.raises(
        UserError, match=r"give \[1, 6, 32\] for 6 tokens, where one stream of width 48 is \[1, 6, 48\]"
    ):
        models.anatomy.examine(model.model, model.tokenizer, model.config, layers=4, width=48, layer=0)


def test_another_site_on_the_same_model_is_examined_where_its_keys_differ(tmp_path: Path) -> None:
    model = load(made("llama", tmp_path))
    same = models.loading.at(model, model.config.model_copy(update={"layer": 2}))
    assert same.anatomy is model.anatomy
    with pytest.raises(UserError, match="has no module `no`"):
        models.loading.at(model, model.config.model_copy(update={"final_norm": "no"}))
    assert not model.lock.locked()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model_type", ["gemma2", "mixtral", "gemma3n_text"])
def test_half_precision_is_no_reason_to_refuse(model_type: str, dtype: str, tmp_path: Path) -> None:
    model = load(made(model_type, tmp_path), dtype=dtype)
    assert model.anatomy.lens_words == OWN
    assert model.anatomy.edits


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_encoder_is_refused_in_half_precision_too(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="as in an encoder"):
        load(made("electra", tmp_path), dtype=dtype)


OF_ITS_OWN = """
import torch
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

class OwnConfig(PretrainedConfig):
    model_type = "own"
    def __init__(self, hidden_size=32, num_hidden_layers=3, vocab_size=512, **others):
        self.hidden_size, self.num_hidden_layers, self.vocab_size = hidden_size, num_hidden_layers, vocab_size
        super().__init__(**others)

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mix = nn.Linear(width, width)
    def forward(self, x):
        past = self.mix(x).cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return BLOCK

class OwnForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config.hidden_size) for _ in range(config.num_hidden_layers))
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
    def get_input_embeddings(self):
        return self.embed
    def get_output_embeddings(self):
        return self.head
    def forward(self, input_ids=None, attention_mask=None, use_cache=None, **others):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = MODEL
        return CausalLMOutputWithPast(logits=self.head(x))
"""


@pytest.mark.parametrize(
    ("block", "model", "is_read"),
    [("x + past", "block(x)", True), ("past", "x + block(x)", False), ("x + past", "0.5 * block(x)", False)],
)
def test_what_blocks_of_code_of_its_own_give_is_the_stream(
    block: str, model: str, is_read: bool, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OF_ITS_OWN.replace("BLOCK", block).replace("MODEL", model))
    places = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    settings = {"model_type": "own", "architectures": ["OwnForCausalLM"], "auto_map": places}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    build.tokenizer().save_pretrained(tmp_path)
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(tmp_path, trust_remote_code=True), trust_remote_code=True
    )
    save_file(made.state_dict(), tmp_path / "model.safetensors", {"format": "pt"})
    if is_read:
        assert load(tmp_path, trust_remote_code=True).anatomy.lens_words == OWN
        return
    with pytest.raises(UserError, match="what block 0 of blocks gives is not what enters block 1") as error:
        load(tmp_path, trust_remote_code=True)
    assert "\n" not in str(error.value)
