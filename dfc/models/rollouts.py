"""Answers sampled from each model to given prompts, as a corpus of its own: a pair compared on what it says itself.

Each model answers on its own, one after the other, prompts of like length together. Every answer has random numbers of
its own, so that it is the same in any batch. Every batch that is finished is kept: after an interruption, the same call
goes on with the answers that are left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from dfc import config, corpus, models, runs
from dfc.config import SIDES, CorpusConfig, ModelConfig, RunConfig, Side, SourceConfig, UserError
from dfc.corpus import PLAIN, Document, Tally, Turn
from dfc.machine import devices, disk, progress
from dfc.models import LoadedModel, together
from dfc.requests import RolloutSampling
from dfc.runs import Run


@dataclass(frozen=True)
class Answer:
    """An answer that is to be given: its place among all, the prompt, and the prompt's token ids.

    `opening` is the mark of thoughts that the template has put there already.
    """

    number: int
    prompt: Document
    ids: list[int]
    opening: str = ""


def default_folder(run: RunConfig) -> Path:
    """Where the answers of a run's models are kept."""
    return runs.data_folder() / "texts" / "rollouts" / run.name


def read_prompts(path: str, limit: int | None = None, split: str = "train") -> list[Document]:
    """What is asked: plain texts, and chats up to their last user turn, each once; `limit` of them, drawn at random.

    Documents are cut to the length to which a run cuts them unless it says otherwise. What is left out is said.

    Raises:
        UserError: if there is nothing at the path, or nothing in it that can be asked.
    """
    prompts, remarks = prompts_and_remarks(path, limit, split)
    for remark in remarks:
        progress.say(remark)
    return prompts


def prompts_and_remarks(path: str, limit: int | None, split: str = "train") -> tuple[list[Document], list[str]]:
    """The same, and in sentences what is left out, or read otherwise than it stands there.

    Raises:
        UserError: as `read_prompts` does.
    """
    usual = CorpusConfig.model_fields
    return corpus.read_prompts(
        path,
        lambda document: document.up_to_the_last(("user", PLAIN)),
        usual["max_characters"].default,
        seed=usual["seed"].default,
        limit=limit,
        split=split,
    )


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
        disk.write_text(folder / "rollouts.yaml", config.dump(made))
    return made


def sources_yaml(run: RunConfig) -> str:
    """The lines of a run's YAML that name the sources of its corpus."""
    sources = [{"name": source.name, "path": source.path} for source in run.corpus.sources]
    return yaml.safe_dump(
        {"sources": sources}, default_flow_style=None, sort_keys=False, allow_unicode=True, width=10_000
    )


def planned(
    model: LoadedModel,
    prompts: list[Document],
    sampling: RolloutSampling,
    moment: datetime | None = None,
    noted: Tally | None = None,
    asked_in_turns: bool = True,
) -> list[Answer]:
    """The answers that a model is to give, longest prompts first, which shows at once whether memory is enough.

    A plain text is a user's turn for a chat model, and is gone on from by a base model. Prompts that its template
    refuses, or that leave no room for an answer, are left out.

    Args:
        model: is asked.
        prompts: plain texts, and chats that end with a user's turn.
        sampling: how, how often, and how many new tokens need room.
        moment: what a template that asks for the time is told.
        noted: grows by what the model is asked otherwise than it stands there.
        asked_in_turns: if not, a chat model goes on from a plain text, too.

    Raises:
        UserError: if all prompts are left out.
    """
    noted, as_chat = Tally() if noted is None else noted, model.is_chat and asked_in_turns
    asked = [
        Document(prompt.source, (Turn("user", prompt.turns[0].content),)) if as_chat and not prompt.is_chat else prompt
        for prompt in prompts
    ]
    places = [(f"prompt {number}", prompt) for number, prompt in enumerate(asked, start=1)]
    given, encoded = corpus.give(places, model.tokenizer, noted, answer=True, moment=moment)
    answers = []
    for place, (prompt, rendering, encoding) in enumerate(zip(asked, given, encoded, strict=True)):
        if encoding.ids and len(encoding.ids) + sampling.tokens <= model.max_tokens:
            first = place * sampling.samples
            opening = corpus.opening(rendering.text) if prompt.is_chat else ""
            numbers = range(first, first + sampling.samples)
            answers += [Answer(number, prompt, encoding.ids, opening) for number in numbers]
    if not answers and noted.rows.get("refused") == len(prompts):
        raise UserError(
            f"{model.title}: its chat template refuses all {len(prompts)} prompts "
            f"({noted.found.get('refused', 'without a reason')}); give others."
        )
    if not answers:
        raise UserError(
            f"{model.title}: none of the {len(prompts)} prompts leaves room for {sampling.tokens} new tokens in "
            f"max_tokens ({model.max_tokens}); ask for fewer, raise max_tokens, or give shorter prompts."
        )
    return sorted(answers, key=lambda answer: -len(answer.ids))


def batched(model: LoadedModel, answers: list[Answer], sampling: RolloutSampling) -> list[list[Answer]]:
    """Planned answers as they are given together: none changes by its neighbours (`LoadedModel.company`)."""
    company, batches = model.company, list[list[Answer]]()
    for _, alike in groupby(answers, lambda answer: company(len(answer.ids), len(answer.ids) + sampling.tokens)):
        left = list(alike)
        while left:
            longest = len(left[0].ids) + sampling.tokens
            size = sampling.batch or together.most_rows(model, longest)
            # Shorter ones would be padded by more than half their own length, which costs more than they save.
            size = min(size, sum(3 * (len(answer.ids) + sampling.tokens) >= 2 * longest for answer in left))
            batches.append(left[:size])
            left = left[size:]
    return batches


def answer_batch(model: LoadedModel, batch: Sequence[Answer], sampling: RolloutSampling) -> list[str]:
    """What a model says, without special tokens but marks of thoughts, and what a base model says after its turn.

    Raises:
        UserError: if the memory is too small for one answer.
    """
    said = write_batch(model, batch, sampling)
    return [text_of(model, answer, tokens) for answer, tokens in zip(batch, said, strict=True)]


def write_batch(model: LoadedModel, batch: Sequence[Answer], sampling: RolloutSampling) -> list[list[int]]:
    """The tokens of a model's answers. Where memory is too small for all, they are given in halves.

    Raises:
        UserError: if the memory is too small for one answer.
    """

    def too_long(answer: Answer) -> str:
        return f"{len(answer.ids) + sampling.tokens} tokens; ask for fewer"

    def work(part: Sequence[Answer]) -> list[list[int]]:
        draws = torch.stack([_draws(sampling, answer.number) for answer in part])
        return together.write(model, [answer.ids for answer in part], sampling, draws, ends)

    ends = models.ends(model)
    return [tokens for _, part in devices.in_halves(work, batch, model.device, too_long) for tokens in part]


def text_of(model: LoadedModel, answer: Answer, tokens: list[int]) -> str:
    """What new tokens say after their prompt: some tokenizers drop a space where decoding begins."""
    speak = partial(corpus.spoken, model.tokenizer)
    text = speak([*answer.ids, *tokens])[len(speak(answer.ids)) :].rstrip("\ufffd")  # a character that was cut
    if answer.prompt.is_chat and not model.is_chat:
        text, _ = corpus.until_next_turn(text)
    return answer.opening + text


def keep_batch(path: Path, rows: Sequence[tuple[int, dict[str, Any] | None]]) -> None:
    """Add numbered rows to a file, as one line: they are there whole, or not at all for whoever reads them."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(rows, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_batches(path: Path) -> dict[int, dict[str, Any] | None]:
    """Rows that `keep_batch` wrote, by their numbers; a batch that was cut short is taken off.

    Raises:
        UserError: if the file is damaged.
    """
    if not path.exists():
        return {}
    with disk.reading(path, "delete it; the model is asked anew"):
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        os.truncate(path, len(whole))
        return {number: row for line in whole.splitlines() for number, row in json.loads(line)}


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
    noted = Tally()
    answers = planned(model, prompts, sampling, _moment(path.with_suffix(".yaml"), side, model), noted)
    rows = read_batches(kept_batches)
    batches = batched(model, [answer for answer in answers if answer.number not in rows], sampling)
    with progress.bar(f"asking {model.title}"[:22], len(answers), "answers", len(rows)) as bar:
        for batch in batches:
            texts = answer_batch(model, batch, sampling)
            numbered_rows = [
                (answer.number, row(model, answer, text)) for answer, text in zip(batch, texts, strict=True)
            ]
            keep_batch(kept_batches, numbered_rows)
            rows.update(numbered_rows)
            bar.update(len(batch))
    lines = [json.dumps(rows[number], ensure_ascii=False) for number in sorted(rows) if rows[number]]
    if not lines:
        kept_batches.unlink()
        raise UserError(f"{model.title}: all {len(rows)} answers are empty; give other prompts, or more new tokens.")
    disk.write_text(path, "\n".join(lines) + "\n")
    kept_batches.unlink()
    unasked = len(prompts) - len(answers) // sampling.samples - noted.rows.get("refused", 0)
    if sentence := corpus.told(noted, side, SourceConfig(name="prompts", path="."), f"models.{path.stem}.template"):
        progress.say(sentence)
    progress.say(
        f"{model.title}: {len(lines)} answers; {len(rows) - len(lines)} more were empty, "
        f"{unasked} of {len(prompts)} prompts left no room for {sampling.tokens} new tokens"
    )


_SINCE = ("base", "tokenizer", "template", "date")  # written only where they are set


def _answers_path(folder: Path, side: Side) -> Path:
    return folder / f"{side}.jsonl"


def _settings(side: ModelConfig, prompts: list[Document], sampling: RolloutSampling) -> dict[str, Any]:
    """All that a model's answers depend on."""
    asked = repr([(prompt.turns, prompt.given) if prompt.given else prompt.turns for prompt in prompts]).encode()
    digest = blake2b(asked, digest_size=16).hexdigest()
    model = side.model_dump(include={"source", "revision", "dtype", "max_tokens"})
    model |= {key: value for key in _SINCE if (value := getattr(side, key)) is not None}
    drawn = {key: value for key, value in asdict(sampling).items() if key != "batch"}
    return {"model": side.title, **model, **drawn, "prompts": f"{len(prompts)} with hash {digest}"}


def _keep_settings(path: Path, begun: bool, settings: dict[str, Any]) -> None:
    """Write what a model's answers are made with; if there are any, see that it is what they were made with.

    The date that a template was told stays.
    """
    if begun:
        with disk.reading(path, f"delete {path.parent} and start again", yaml.YAMLError):
            old = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        if lacking := [key for key in settings if key not in old and key not in _SINCE]:
            another = "give another --folder: the answers there are kept"
            raise disk.other_version(path, f"`{lacking[0]}` is missing", another)
        settings = {**({"date": old["date"]} if "date" in old else {}), **settings}
        old.pop("batch", None)  # in older folders: draws hung on it
        changed = [key for key in {**settings, **old} if old.get(key) != settings.get(key)]
        if changed:
            key = changed[0]
            raise UserError(
                f"{path.parent}: the answers of {settings['model']} were begun with other settings "
                f"({key}: {old.get(key)!r:.60} there, {settings.get(key)!r:.60} now); give another --folder, or "
                f"delete it."
            )
    disk.write_text(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def _moment(path: Path, side: ModelConfig, model: LoadedModel) -> datetime | None:
    """The time that a model's template is told, which its settings keep, so that what goes on is told the same."""
    if not corpus.is_dated(model.tokenizer):
        return None
    settings = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    moment: datetime = settings.setdefault("date", side.date or datetime.now().replace(microsecond=0))
    disk.write_text(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    return moment


def _draws(sampling: RolloutSampling, number: int) -> Tensor:
    """Random numbers of one answer, (tokens,), whatever else is drawn beside it."""
    seed = int.from_bytes(blake2b(f"{sampling.seed}/{number}".encode(), digest_size=7).digest(), "big")
    return torch.rand(sampling.tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def row(model: LoadedModel, answer: Answer, text: str) -> dict[str, Any] | None:
    """A row of the corpus: prompt and answer, and what was thought before it; none if both are empty."""
    if not text.strip():
        return None
    if not answer.prompt.is_chat:
        return {"text": answer.prompt.turns[0].content + text.rstrip(), "model": model.title}
    said = corpus.parts(text)
    if not said.answer.strip() and not said.reasoning:
        return None
    message = {"role": "assistant", "content": said.answer.strip()}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    tools = {"tools": answer.prompt.tools} if answer.prompt.tools else {}
    return {
        "messages": [*answer.prompt.messages, message],
        **tools,
        "answer": message["content"],
        "reasoning": said.reasoning,
        "model": model.title,
    }
