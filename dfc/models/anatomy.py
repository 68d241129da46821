"""What a model is made of, found and checked by running it on a few tokens: its blocks, their stream, the lens.

Nothing is taken on trust that a short text can show: that the blocks are as many and as wide as the settings say, that
they run once each, that their stream is read alike with padding after it and with the forward pass ended early, that a
token knows nothing of later ones, and that the lens at the last block gives the model's own logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dfc.config import MemoryShortError, ModelConfig, UserError
from dfc.machine import memory
from dfc.models import sites, streams, unembedding
from dfc.models.streams import Form
from dfc.models.unembedding import Lens

OWN = "its own"
"""What is said of a lens that is the model's own."""
_TEXT = "A few words that any model reads."
_TOKENS = 6
_PREFIX = 4  # of these, read with padding after them
_TOLERANCE = {torch.float32: 5e-3, torch.float16: 0.01}  # of what is compared, as a share of it, by the model's dtype
_COARSE = 0.03  # of other dtypes, such as bfloat16


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Where a model's stream is, and how it is read.

    Attributes:
        blocks_path: of the list of blocks.
        form: how a block's output holds the stream.
        lens: from the last block's stream to logits; None where it does not give the model's own.
        lens_words: how the lens is made, or why there is none.
        edits: whether the stream can be edited.
    """

    blocks_path: str
    form: Form
    lens: Lens | None
    lens_words: str
    edits: bool


@dataclass(frozen=True, eq=False)
class _Pass:
    """A plain forward pass over a few tokens.

    Attributes:
        ids: the tokens, (1, length).
        entered: the tensors that each block of each list was given, the last time it ran.
        held: what each block of each list gave, as tensors of their own, every time it ran.
        last: what the last block of each list gave, whole.
        logits: (1, length, vocabulary).
    """

    ids: Tensor
    entered: dict[str, list[list[Tensor]]]
    held: dict[str, list[list[Tensor]]]
    last: dict[str, Any]
    logits: Tensor


def examine(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: ModelConfig, layers: int, width: int, layer: int
) -> Anatomy:
    """Find a model's blocks and check all that is done with them.

    Args:
        model: on its device, ready to run.
        tokenizer: gives the tokens.
        config: the site, and modules that are named by hand.
        layers, width: number of blocks and width of the stream by the model's settings.
        layer: the block that will be read.

    Raises:
        MemoryShortError: if there is no memory to run it.
        UserError: if what is found does not hold; the lens is left out instead.
    """
    who = f"{config.source} ({type(model).__name__})"
    lists = sites.lists_of_blocks(model, config, layers)
    seen = _run(model, lists, _sample(model, tokenizer), who)
    if not bool(seen.logits.isfinite().any()):
        raise UserError(
            f"{who}: gives no finite numbers in {config.dtype}; set `dtype` to bfloat16 or float32, or see whether its "
            f"weights are whole."
        )
    try:
        path = _path(model, lists, seen, layers, who)
        _check_handed_on(model, seen, path, who)
        form, entry = _form(model, path, seen, width, who)
        _check_reading(model, lists[path], form, seen, path, layer, who)
    except UserError:
        _check_order(model, seen, who)  # says more, where it is the reason
        raise
    lens, words = _lens(model, lists[path], form, entry, seen, path, config)
    edits = all(form.takes_edits(runs[0]) for runs in seen.held[path])
    return Anatomy(path, form, lens, words, edits)


def _sample(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """A few tokens that the model knows, (1, length)."""
    embedding = model.get_input_embeddings().weight
    ids = [token for token in tokenizer(_TEXT, add_special_tokens=False)["input_ids"] if token < len(embedding)]
    known = ids if len(ids) >= _TOKENS else [*ids, *range(1, len(embedding))]
    return torch.tensor([known[:_TOKENS]], device=embedding.device)


@torch.inference_mode()
def _run(model: PreTrainedModel, lists: dict[str, nn.ModuleList], ids: Tensor, who: str) -> _Pass:
    held = {path: [list[Tensor]() for _ in blocks] for path, blocks in lists.items()}
    entered = {path: [list[Tensor]() for _ in blocks] for path, blocks in lists.items()}
    last: dict[str, Any] = {}

    def note(path: str, number: int, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = (*inputs, *named.values())
        entered[path][number] = [one.clone() for one in given if isinstance(one, Tensor)]  # a block may write into it

    def keep(path: str, number: int, module: nn.Module, inputs: Any, output: Any) -> None:
        first = streams.stream_of(output) if isinstance(output, Tensor | tuple | list) and len(output) else None
        if isinstance(first, Tensor):
            held[path][number].append(first.clone())  # later blocks may write into it
        if number == len(lists[path]) - 1:
            last[path] = output

    handles = [
        block.register_forward_hook(partial(keep, path, number))
        for path, blocks in lists.items()
        for number, block in enumerate(blocks)
    ]
    handles += [
        block.register_forward_pre_hook(partial(note, path, number), with_kwargs=True)
        for path, blocks in lists.items()
        for number, block in enumerate(blocks)
    ]
    try:
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        if not isinstance(logits, Tensor):
            raise TypeError(f"it gives {type(logits).__name__} in place of logits")
    except Exception as error:  # whatever a model's own code raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if memory.is_out_of_memory(error):
            raise MemoryShortError(
                f"{who}: there is no memory to run it on {ids.shape[1]} tokens ({reason}); close other programs, use "
                f"half precision (dtype: bfloat16), or spread it over devices (device_map: auto)."
            ) from error
        raise UserError(
            f"{who}: it does not run on a few tokens of text alone ({reason}); give a causal language model that does."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return _Pass(ids, entered, held, last, logits)


@torch.inference_mode()
def _check_order(model: PreTrainedModel, seen: _Pass, who: str) -> None:
    """See that what a model says after a token does not depend on later ones.

    Raises:
        UserError: if it does.
    """
    ids = seen.ids[:, : _prefix(seen.ids)]
    alone = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    if not _same(model, alone, seen.logits[:, : ids.shape[1]]):
        raise _reads_on(who)


def _reads_on(who: str) -> UserError:
    return UserError(
        f"{who}: what it makes of a token depends on later tokens, as in an encoder; give a causal language model, one "
        f"that reads from left to right."
    )


def _prefix(ids: Tensor) -> int:
    return min(_PREFIX, ids.shape[1] - 1)


def _path(model: nn.Module, lists: dict[str, nn.ModuleList], seen: _Pass, layers: int, who: str) -> str:
    """The only list whose modules all ran, once each, and are as many as the settings say."""
    ran = [path for path in lists if any(seen.held[path])]
    for path in ran:
        most, idle = max(map(len, seen.held[path])), [number for number, runs in enumerate(seen.held[path]) if not runs]
        if most > 1:
            raise UserError(
                f"{who}: {path} is run {most} times for each token, so that its blocks have no single stream; give a "
                f"model that runs each of its blocks once."
            )
        if idle and len(ran) == 1:
            raise UserError(
                f"{who}: of {path}, {', '.join(map(str, idle))} are not run on a text alone and give no stream; give a "
                f"model of texts alone, or name another list with the key `blocks` of this model."
            )
    if len(ran) != 1:
        listed = ", ".join(f"{path} ({len(module)})" for path, module in sites.all_lists(model).items()) or "none"
        raise UserError(
            f"{who}: it is not clear which modules are its blocks; lists of modules found: {listed}; name one with the "
            f"key `blocks` of this model."
        )
    [path] = ran
    if len(lists[path]) != layers:
        others = [other for other, module in sites.all_lists(model).items() if len(module) == layers]
        remedy = (
            f"name the list of blocks with the key `blocks` of this model, such as {others[0]}"
            if others
            else "correct the number in its config.json"
        )
        raise UserError(
            f"{who}: {path} holds {len(lists[path])} modules, and its settings speak of {layers} blocks; {remedy}."
        )
    return path


def _check_handed_on(model: PreTrainedModel, seen: _Pass, path: str, who: str) -> None:
    """See that what a block gives enters the next, in code that comes with a model: that of transformers is tried.

    Raises:
        UserError: if it does not, as where a model adds what its blocks give to a stream that they do not see.
    """
    if type(model).__module__.startswith("transformers."):
        return
    for number, [[given, *_], entered] in enumerate(zip(seen.held[path], seen.entered[path][1:], strict=False)):
        like = [one for one in entered if one.shape == given.shape]
        if like and not any(_same(model, one, given) for one in like):
            raise UserError(
                f"{who}: what block {number} of {path} gives is not what enters block {number + 1}, so that it is not "
                f"the residual stream but what is added to it or made into it outside of the blocks; if {path} are not "
                f"its blocks, name these with the key `blocks` of this model, else give another model."
            )


def _form(model: PreTrainedModel, path: str, seen: _Pass, width: int, who: str) -> tuple[Form, nn.Module | None]:
    """How blocks hold the stream, and which module takes it after them if there are several."""
    shapes = {tuple(runs[0].shape) for runs in seen.held[path]}
    alone = (*seen.ids.shape, width)
    others = seen.last[path] if isinstance(seen.last[path], tuple | list) else ()
    if shapes == {alone} and not any(isinstance(other, Tensor) and other.shape == alone for other in others[1:]):
        return Form(), None
    if shapes == {alone}:
        raise UserError(
            f"{who}: its blocks hand on two streams side by side, and neither is the residual stream alone; give a "
            f"model whose blocks hand on one."
        )
    if len(shapes) == 1:
        held = seen.held[path][-1][0]
        after = _entered(model, model.get_submodule(path)[-1], seen.ids)
        found = streams.several(
            model, path, held, width, [module for module, given in after if _same(model, given, held)]
        )
        stream = None if found is None else found.collapse(held)
        entry = next((module for module, given in after if stream is not None and _same(model, given, stream)), None)
        if entry is not None:
            return Form(found), entry
    given = " or ".join(str(list(shape)) for shape in shapes)
    raise UserError(
        f"{who}: its blocks give {given} for {seen.ids.shape[1]} tokens, where one stream of width {width} is "
        f"{list(alone)}; if {path} are not its blocks, name these with the key `blocks` of this model, else give "
        f"another model."
    )


@torch.inference_mode()
def _entered(model: PreTrainedModel, last: nn.Module, ids: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """The modules that run after the last block, and what each is given first."""
    found: list[tuple[nn.Module, Tensor]] = []
    behind = [False]

    def pass_by(module: nn.Module, inputs: Any, output: Any) -> None:
        behind[0] = True

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if behind[0] and inputs and isinstance(inputs[0], Tensor):
            found.append((module, inputs[0].clone()))

    inside = set(last.modules())
    handles = [module.register_forward_pre_hook(keep) for module in model.modules() if module not in inside]
    handles.append(last.register_forward_hook(pass_by))
    try:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _same(model: PreTrainedModel, one: Tensor, other: Tensor) -> bool:
    return _apart(one, other) < _TOLERANCE.get(model.dtype, _COARSE)


def _check_reading(
    model: PreTrainedModel, blocks: nn.ModuleList, form: Form, seen: _Pass, path: str, layer: int, who: str
) -> None:
    """See that a batch that is ended early and padded reads what a plain forward pass gives.

    Raises:
        UserError: if it does not, or if what is made of a token depends on later ones.
    """
    ids, plain = seen.ids, form.read(seen.held[path][layer][0])
    prefix = _prefix(ids)
    mask = torch.ones_like(ids).repeat(2, 1)
    mask[1, prefix:] = 0
    [both], _ = sites.read_streams(model, blocks, [layer], form, ids * mask, mask)
    [alone], _ = sites.read_streams(model, blocks, [layer], form, ids[:, :prefix], mask[:1, :prefix])
    if not _same(model, alone, plain[:, :prefix]):
        raise _reads_on(who)
    for row, length, what in ((0, ids.shape[1], "the forward pass ends there"), (1, prefix, "it is padded")):
        if not _same(model, both[row : row + 1, :length], plain[:, :length]):
            raise UserError(
                f"{who}: block {layer} gives a text another stream when {what}, so that it cannot be read; give "
                f"another model."
            )


@torch.inference_mode()
def _lens(
    model: PreTrainedModel,
    blocks: nn.ModuleList,
    form: Form,
    entry: nn.Module | None,
    seen: _Pass,
    path: str,
    config: ModelConfig,
) -> tuple[Lens | None, str]:
    """The lens that gives the model's own logits, or the one that was asked for; and how it is made, or why not."""
    stream, logits = form.read(seen.held[path][-1][0])[0, -2:], seen.logits[0, -2:]  # of two tokens: it is costly
    if config.final_norm is not None:
        norm = dict(model.named_modules()).get(config.final_norm)
        if norm is None:
            raise UserError(
                f"{config.source} ({type(model).__name__}): has no module `{config.final_norm}`; correct the key "
                f"`final_norm` of this model, or take it out."
            )
        lens = unembedding.norm_and_head(model, norm)
        try:
            off = _apart(lens(stream), logits)
        except (RuntimeError, TypeError) as error:
            raise UserError(
                f"{config.source} ({type(model).__name__}): `final_norm: {config.final_norm}` takes no stream of its "
                f"last block ({str(error).splitlines()[0]:.120}); correct this key, or take it out."
            ) from None
        return lens, f"`{config.final_norm}` and the unembedding, as was asked; {off:.1%} off its own logits"
    lens = unembedding.own_tail(model, blocks, form, seen.last[path], entry)
    hint = "the key `final_norm` of this model names a norm to read it through all the same"
    try:
        off = _apart(lens(stream), logits)
    except Exception as error:  # whatever a model's own code raises where its blocks were left out
        return None, f"its logits do not come from its last block alone ({type(error).__name__}); {hint}"
    if not off < _TOLERANCE.get(model.dtype, _COARSE):
        return None, f"its logits do not come from its last block alone ({off:.0%} off); {hint}"
    return lens, OWN


def _apart(one: Tensor, other: Tensor) -> float:
    """How far two tensors are apart at the middle position, as a share of the second; (..., width).

    The middle one, since in half precision a mixture of experts may send a single token elsewhere.
    """
    if one.shape != other.shape:
        return float("inf")
    one, other = one.double(), other.double()
    return float(((one - other).norm(dim=-1) / other.norm(dim=-1).clamp(min=1e-12)).median())
