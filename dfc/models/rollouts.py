"""Answers sampled from each model to given prompts, as a corpus of its own: a pair compared on what it says itself.

Each model answers on its own, one after the other, prompts of like length together. Every batch that is finished is
kept: after an interruption, the same call goes on with the next one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
import yaml

from dfc import config, corpus, models, runs
from dfc.config import SIDES, CorpusConfig, ModelConfig, RunConfig, Side, SourceConfig, UserError
from dfc.corpus import PLAIN, Document, Turn
from dfc.machine import devices, progress
from dfc.models import LoadedModel
from dfc.requests import RolloutSampling
from dfc.runs import Run

# A base model goes on after its answer with the next turn of the frame in which corpus.render gave it the chat.
_NEXT_TURN = re.compile(r"\n\s*(?:System|User|Assistant):")


@dataclass(frozen=True)
class Answer:
    """An answer that is to be given: its place among all, the prompt, and the prompt's token ids."""

    number: int
    prompt: Document
    ids: list[int]


def default_folder(run: RunConfig) -> Path:
    """Where the answers of a run's models are kept."""
    return runs.data_folder() / "texts" / "rollouts" / run.name


def read_prompts(path: str, limit: int | None = None) -> list[Document]:
    """What is asked: plain texts, and chats up to their last user turn, each once; `limit` of them, drawn at random.

    Documents are cut to the length to which a run cuts them unless it says otherwise. Of rows with a `prompt`, no
    `response` is needed.

    Raises:
        UserError: if there is nothing at the path, or nothing in it that can be asked.
    """
    # The prompt stands for its response, which is cut off.
    source = SourceConfig(name="prompts", path=path, prompt="prompt", response="prompt")
    opened = corpus.open_sources(CorpusConfig(sources=(source,)))[source.name]
    prompts: dict[Document, None] = {}
    for document in opened.documents:
        asking = [place for place, turn in enumerate(document.turns) if turn.role in ("user", PLAIN)]
        if asking:
            prompts[Document(document.source, document.turns[: asking[-1] + 1])] = None
        if len(prompts) == limit:
            break
    if not prompts:
        raise UserError(f"{path}: no chat in it has a user's turn; give chats that have one, or plain texts.")
    if opened.left_out.rows:
        progress.say(f"{path}: left out {opened.left_out_in_words()}")
    return list(prompts)


def write(run: RunConfig, prompts: list[Document], sampling: RolloutSampling, folder: Path) -> RunConfig:
    """Let both models of a run answer; settings of a run on their answers, which rollouts.yaml holds, too.

    The folder then has a.jsonl and b.jsonl, with the settings of each in a.yaml and b.yaml. What is there already is
    not done again.

    Raises:
        UserError: if a model does not load, has no answer that can be kept, or has answered there under other
            settings, or if another process writes there.
    """
    if sampling.samples > 1 and sampling.temperature == 0:
        raise UserError(
            f"rollouts: at temperature 0 the {sampling.samples} samples of a prompt would be the same; "
            f"ask for one, or raise the temperature."
        )
    with Run(folder).lock():
        for side in SIDES:
            try:
                _write_side(run.models.side(side), prompts, sampling, _answers_path(folder, side))
            except KeyboardInterrupt:
                progress.say("\nrollouts: interrupted; start the same command again to go on")
                raise
        titles = {side: run.models.side(side).title for side in SIDES}
        same = titles["a"] == titles["b"]
        sources = tuple(
            SourceConfig(name=f"{title} ({side.upper()})" if same else title, path=str(_answers_path(folder, side)))
            for side, title in titles.items()
        )
        made = run.model_copy(
            update={"name": f"{run.name}-rollouts", "corpus": run.corpus.model_copy(update={"sources": sources})}
        )
        runs.write_text(folder / "rollouts.yaml", config.dump(made))
    return made


def sources_yaml(run: RunConfig) -> str:
    """The lines of a run's YAML that name the sources of its corpus."""
    sources = [{"name": source.name, "path": source.path} for source in run.corpus.sources]
    return yaml.safe_dump(
        {"sources": sources}, default_flow_style=None, sort_keys=False, allow_unicode=True, width=10_000
    )


def planned(model: LoadedModel, prompts: list[Document], sampling: RolloutSampling) -> list[Answer]:
    """The answers that a model is to give, longest prompts first, which shows at once whether memory is enough.

    A plain text is a user's turn for a chat model, and is gone on from by a base model. Prompts that leave no room for
    an answer are left out.

    Raises:
        UserError: if all do.
    """
    answers = []
    for place, document in enumerate(prompts):
        prompt = document
        if model.is_chat and not document.is_chat:
            prompt = Document(document.source, (Turn("user", document.turns[0].content),))
        rendering = corpus.render(prompt, model.tokenizer, answer=True)
        ids = model.tokenizer(rendering.text, add_special_tokens=rendering.add_special_tokens)["input_ids"]
        if ids and len(ids) + sampling.tokens <= model.max_tokens:
            first = place * sampling.samples
            answers += [Answer(number, prompt, ids) for number in range(first, first + sampling.samples)]
    if not answers:
        raise UserError(
            f"{model.title}: none of the {len(prompts)} prompts leaves room for {sampling.tokens} new tokens in "
            f"max_tokens ({model.max_tokens}); ask for fewer, raise max_tokens, or give shorter prompts."
        )
    return sorted(answers, key=lambda answer: -len(answer.ids))


def answer_batch(model: LoadedModel, batch: list[Answer], sampling: RolloutSampling, seed: int) -> list[str]:
    """What a model says, without special tokens, and what a base model says after its turn.

    Raises:
        UserError: if the memory is too small for one answer.
    """
    ends = _ends(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        said = _generate(model, [answer.ids for answer in batch], sampling, ends)
    return [_text(model, answer, tokens) for answer, tokens in zip(batch, said, strict=True)]


def _write_side(side: ModelConfig, prompts: list[Document], sampling: RolloutSampling, path: Path) -> None:
    """Write one model's answers, in the order of the prompts."""
    kept_batches = path.with_suffix(".batches")
    _keep_settings(
        path.with_suffix(".yaml"), path.exists() or kept_batches.exists(), _settings(side, prompts, sampling)
    )
    if path.exists():
        kept_batches.unlink(missing_ok=True)
        progress.say(f"{side.title}: has answered already ({path})")
        return
    model = models.load(side)
    answers = planned(model, prompts, sampling)
    batches = [answers[first : first + sampling.batch] for first in range(0, len(answers), sampling.batch)]
    done = _read_batches(kept_batches)
    rows = dict(row for batch in done for row in batch)
    with (
        progress.bar(f"asking {model.title}"[:22], len(answers), "answers", len(rows)) as bar,
        kept_batches.open("a", encoding="utf-8") as file,
    ):
        for number in range(len(done), len(batches)):
            batch = batches[number]
            texts = answer_batch(model, batch, sampling, _batch_seed(sampling.seed, number))
            numbered_rows = [
                (answer.number, _row(model, answer, text)) for answer, text in zip(batch, texts, strict=True)
            ]
            file.write(json.dumps(numbered_rows, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            rows.update(numbered_rows)
            bar.update(len(batch))
    lines = [json.dumps(rows[number], ensure_ascii=False) for number in sorted(rows) if rows[number]]
    if not lines:
        kept_batches.unlink()
        raise UserError(f"{model.title}: all {len(rows)} answers are empty; give other prompts, or more new tokens.")
    runs.write_text(path, "\n".join(lines) + "\n")
    kept_batches.unlink()
    unasked = len(prompts) - len(answers) // sampling.samples
    progress.say(
        f"{model.title}: {len(lines)} answers; {len(rows) - len(lines)} more were empty, "
        f"{unasked} of {len(prompts)} prompts left no room for {sampling.tokens} new tokens"
    )


_SINCE = ("base", "tokenizer")  # written only where they are set


def _answers_path(folder: Path, side: Side) -> Path:
    return folder / f"{side}.jsonl"


def _settings(side: ModelConfig, prompts: list[Document], sampling: RolloutSampling) -> dict[str, Any]:
    """All that a model's answers depend on."""
    digest = blake2b(repr([prompt.turns for prompt in prompts]).encode(), digest_size=16).hexdigest()
    model = side.model_dump(include={"source", "revision", "dtype", "max_tokens"})
    model |= {key: value for key in _SINCE if (value := getattr(side, key)) is not None}
    return {"model": side.title, **model, **asdict(sampling), "prompts": f"{len(prompts)} with hash {digest}"}


def _keep_settings(path: Path, begun: bool, settings: dict[str, Any]) -> None:
    """Write what a model's answers are made with; if there are any, see that it is what they were made with."""
    if begun:
        with runs.reading(path, f"delete {path.parent} and start again", yaml.YAMLError):
            old = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        if lacking := [key for key in settings if key not in old and key not in _SINCE]:
            another = "give another --folder: the answers there are kept"
            raise runs.other_version(path, f"`{lacking[0]}` is missing", another)
        changed = [key for key in {**settings, **old} if old.get(key) != settings.get(key)]
        if changed:
            key = changed[0]
            raise UserError(
                f"{path.parent}: the answers of {settings['model']} were begun with other settings "
                f"({key}: {old.get(key)!r:.60} there, {settings.get(key)!r:.60} now); give another --folder, or "
                f"delete it."
            )
    runs.write_text(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def _read_batches(path: Path) -> list[list[tuple[int, dict[str, Any] | None]]]:
    """The batches that were finished, one a line; a line that was cut short is taken off the file."""
    if not path.exists():
        return []
    with runs.reading(path, "delete it; the model is asked anew"):
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        os.truncate(path, len(whole))
        return [[(number, row) for number, row in json.loads(line)] for line in whole.splitlines()]


def _batch_seed(seed: int, number: int) -> int:
    return int.from_bytes(blake2b(f"{seed}/{number}".encode(), digest_size=8).digest(), "big")


def _ends(model: LoadedModel) -> list[int]:
    """Tokens that end an answer: those the model and its tokenizer name, and the one after a turn in its template.

    The last since many tokenizers of models with a template name only the end of a text.
    """
    named = model.model.generation_config.eos_token_id
    ends = {*(named if isinstance(named, list) else [named]), model.tokenizer.eos_token_id}
    if model.is_chat:
        chat = Document("", (Turn("user", "a"), Turn("assistant", "a")))
        rendering = corpus.render(chat, model.tokenizer)
        start, _, length = rendering.turns[-1]
        after = model.tokenizer(rendering.text[start + length :], add_special_tokens=False)["input_ids"]
        added = model.tokenizer.added_tokens_decoder
        ends.add(next((token for token in after if token in added and added[token].special), None))
    return sorted(ends - {None})


def _generate(
    model: LoadedModel, prompts: list[list[int]], sampling: RolloutSampling, ends: list[int]
) -> list[list[int]]:
    """New tokens after each prompt, up to the first of `ends`; in halves where memory is too small for all."""

    def too_long(prompt: list[int]) -> str:
        return f"{len(prompt) + sampling.tokens} tokens; ask for fewer"

    work = partial(_generate_together, model, sampling=sampling, ends=ends)
    return [tokens for _, part in devices.in_halves(work, prompts, model.device, too_long) for tokens in part]


def _generate_together(
    model: LoadedModel, prompts: Sequence[list[int]], sampling: RolloutSampling, ends: list[int]
) -> list[list[int]]:
    """The same in one batch.

    Prompts are padded on the left; by the mask, transformers gives their tokens the positions they have alone.
    """
    longest = max(map(len, prompts))
    pad = model.tokenizer.pad_token_id if model.tokenizer.pad_token_id is not None else next(iter(ends), 0)
    ids = torch.full((len(prompts), longest), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    drawing: dict[str, Any] = {"do_sample": False}
    if sampling.temperature > 0:
        drawing = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    whole = model.model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=sampling.tokens,
        eos_token_id=ends or None,
        pad_token_id=pad,
        repetition_penalty=1.0,
        use_cache=True,  # training leaves it off in the settings of some models
        **drawing,
    )
    new: list[list[int]] = whole[:, longest:].tolist()
    return [tokens[: next((at for at, token in enumerate(tokens) if token in ends), len(tokens))] for tokens in new]


def _text(model: LoadedModel, answer: Answer, tokens: list[int]) -> str:
    """What new tokens say after their prompt: some tokenizers drop a space where decoding begins."""
    decode: Callable[[list[int]], str] = partial(
        model.tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    text = decode([*answer.ids, *tokens])[len(decode(answer.ids)) :].rstrip("\ufffd")  # a character that was cut
    if answer.prompt.is_chat and not model.is_chat:
        text = _NEXT_TURN.split(text)[0]
    return text


def _row(model: LoadedModel, answer: Answer, text: str) -> dict[str, Any] | None:
    """A row of the corpus: prompt and answer; none if the answer is empty."""
    if not text.strip():
        return None
    if not answer.prompt.is_chat:
        return {"text": answer.prompt.turns[0].content + text.rstrip(), "model": model.title}
    turns = [*answer.prompt.turns, Turn("assistant", text.strip())]
    return {"messages": [asdict(turn) for turn in turns], "model": model.title}
