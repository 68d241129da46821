"""The planted world's results as a table for the terminal and as docs/planted.md."""

from __future__ import annotations

import random
from pathlib import Path

from dfc.config import opposite
from dfc.machine import disk
from dfc.worlds.planted import Setting
from dfc.worlds.planted_result import ASKED, FIRST, PURE, READ, STEERED, PlantedFinding, PlantResult, SeedResult
from dfc.worlds.planted_texts import TOPIC_WORDS, TOPICS, draw, planted_document


def summary(results: list[SeedResult]) -> str:
    """A line for each seed, and one for all."""
    columns = ("seed", "planted", "found", "recall", "findings read", "of these false", "precision", "brought out")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for result in results:
        lines.append(_summary_line(str(result.seed), [result]))
    return "\n".join([*lines, _summary_line("all", results)])


def met(results: list[SeedResult]) -> str:
    """How much of what was planted one has met who reads so many of the queue, or of the findings, of both models."""
    columns = [f"in the first {first} of {kind}" for kind in ("the queue", "the findings") for first in READ]
    lines = [f"| seed | planted | {' | '.join(columns)} |", "|" + "---|" * (2 + len(columns))]
    for name, some in [*((str(result.seed), [result]) for result in results), ("all", results)]:
        plants = _planted(some)
        places = [plant.queued for plant in plants], [plant.listed for plant in plants]
        numbers = [_within(of_list, first) for of_list in places for first in READ]
        cells = [str(len(plants)), *(f"{number} ({number / len(plants):.0%})" for number in numbers)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(results: list[SeedResult], setting: Setting, folder: Path, command: str) -> Path:
    """The results as a page, planted.md in `folder`."""
    path = folder / "planted.md"
    disk.write_text(path, _page(results, setting, command))
    return path


def _planted(results: list[SeedResult]) -> list[PlantResult]:
    return [plant for result in results for plant in result.plants]


def _within(places: list[int | None], first: int) -> int:
    return sum(place is not None and place < first for place in places)


def _asked(results: list[SeedResult]) -> str:
    places = [plant.queued for plant in _planted(results)]
    told = []
    for first, share in zip(READ, ASKED, strict=True):
        is_met = _within(places, first) >= share * len(places)
        told.append(f"{share:.0%} in the first {first} ({'met' if is_met else '**missed**'})")
    return ", ".join(told)


def _summary_line(name: str, results: list[SeedResult]) -> str:
    plants = _planted(results)
    findings = sum(len(result.findings) for result in results)
    false = sum(len(result.false) for result in results)
    found = sum(plant.found for plant in plants)
    precision = f"{1 - false / findings:.2f}" if findings else "–"
    steers = sum(plant.steers for plant in plants)
    recall = f"{found / len(plants):.2f}"
    return f"| {name} | {len(plants)} | {found} | {recall} | {findings} | {false} | {precision} | {steers} |"


def _page(results: list[SeedResult], setting: Setting, command: str) -> str:
    training = setting.training
    return f"""# The planted world

Made by `{command}`; do not edit by hand.

Two causal language models are trained from nothing on texts of a seeded generator, and compared by the whole line:
model A, a Llama of {training.layers} blocks of width {training.width_a} with a byte-level BPE, and model B, a GPT-NeoX
of {training.layers} blocks of width {training.width_b} with a smaller BPE over ▁-marked words; each trained in
{training.steps:,} steps of {training.batch} documents, and read at block {setting.layer}, counted from 0.

Both are trained on texts about {len(TOPICS)} topics, on a miscellany of all words, on mixtures of the words of the
planted topics, on questions and answers, and on introductions. {training.share:.0%} of the documents that a model is
trained on hold what it alone is given: model A {setting.topics} topics, an identity and a refusal to answer
{len(TOPICS)} questions, model B {setting.topics} other topics and another identity. Both meet all words: no word tells
what is planted, but what goes together with it. The corpus of the comparison holds everything, drawn anew.

The corpus is one source: nothing but what the models make of it tells what is planted from the rest. The settings
follow from worlds of seeds 100 to 102; those reported here had no part in that.

{_examples(results[0], setting)}

## Results

{summary(results)}

Ordinary texts surprise A and B by {_ordinary(results)} nats a character.

- A *finding* is a group of features, of any partition, that fire in the same texts and behind which one model knows
  better what follows ([findings.md](findings.md)). Of each model the first {FIRST} are read, fewer where there are
  fewer. A finding is *false* if fewer than {PURE:.0%} of its best feature's top contexts lie in texts that were planted
  in its model.
- A planted difference is *found* if at least {PURE:.0%} of the top contexts of one of these lie in its texts.
- It is *brought out* if its model, steered with the best feature of one of its first {setting.steered} findings, says
  what was planted in at least {STEERED:.0%} more of {setting.prompts} continuations than without: of a topic,
  {TOPIC_WORDS} of its words in one sentence; of an identity, its name and maker; of a refusal, whom to ask about what.
  Continuations of {setting.tokens} tokens are sampled at temperature 1 after beginnings of ordinary texts; what is
  added to the stream is {setting.strength:g} times its median norm long.

{_by_kind(results)}

## What is met, in which order

How many of the planted differences one has met after so many entries: of the queue of the page Screen, in its order
with all weights 1 and the flags that `dfc screen` looks for by words ([screening.md](screening.md)), and of the
findings of both models in one list. An entry is *of* a difference as a finding is; the queue goes on with exclusive
features after the findings. Asked for of the queue: {_asked(results)}.

{met(results)}

## Each planted difference

*surprise*: nats a character of its texts, to the model that was trained on them and to the other. *findings*: those of
its model that are of it. Of the first of these: its *rank* among all of its model, counted from 1, the *partition* of
its best feature, how many features it has, the *gap* in nats a character beyond matched places, and the share of its
top *contexts* that hold the planted texts. *queue*: the place of its first entry there, from 1. *steered*:
the largest share of continuations that say it, against the share *without* steering.

{_plants(results)}

## False findings

{_false(results)}
"""


def _examples(result: SeedResult, setting: Setting) -> str:
    """A text of the first plant of each kind of model A."""
    lines = [f"Model A's in seed {result.seed}, for example:", ""]
    shown: set[str] = set()
    for plant in draw(result.seed, setting.topics).given("a"):
        if plant.kind not in shown:
            shown.add(plant.kind)
            text = planted_document(plant, random.Random(0)).split("\n")[0]
            lines.append(f"- {plant.kind}: *{text}*")
    return "\n".join(lines)


def _ordinary(results: list[SeedResult]) -> str:
    return ", ".join(f"{result.ordinary['a']:.3f} and {result.ordinary['b']:.3f}" for result in results)


def _by_kind(results: list[SeedResult]) -> str:
    plants = _planted(results)
    lines = ["| planted | found | first in a dedicated partition | brought out |", "|---|---|---|---|"]
    for kind in sorted({plant.kind for plant in plants}):
        own = [plant for plant in plants if plant.kind == kind]
        dedicated = sum(plant.found and plant.findings[0].partition != "shared" for plant in own)
        lines.append(
            f"| {len(own)} × {kind} | {sum(plant.found for plant in own)} | {dedicated} "
            f"| {sum(plant.steers for plant in own)} |"
        )
    return "\n".join(lines)


def _plants(results: list[SeedResult]) -> str:
    columns = (
        "seed",
        "planted",
        "surprise own / other",
        "findings",
        "rank",
        "partition",
        "features",
        "gap",
        "contexts",
        "queue",
        "steered",
        "without",
        "brought out",
    )
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for result in results:
        for plant in result.plants:
            own, other = (plant.surprise[side] for side in (plant.side, opposite(plant.side)))
            cells = [str(result.seed), plant.name, f"{own:.2f} / {other:.2f}", str(len(plant.findings))]
            cells += _first(plant.findings[0]) if plant.found else ["–"] * 5
            cells.append("–" if plant.queued is None else str(plant.queued + 1))
            steered = max((finding.steered or 0 for finding in plant.findings), default=None)
            cells += ["–" if steered is None else f"{steered:.2f}", f"{plant.baseline:.2f}"]
            cells.append("yes" if plant.steers else "**no**")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _first(finding: PlantedFinding) -> list[str]:
    gap = f"{finding.gap:.3f} ± {finding.error:.3f}"
    return [str(finding.rank + 1), finding.partition, str(finding.members), gap, f"{finding.share:.2f}"]


def _false(results: list[SeedResult]) -> str:
    rows = [(result.seed, finding) for result in results for finding in result.false]
    if not rows:
        return "None."
    lines = [
        "| seed | model | rank | partition | features | gap | planted contexts | where its top contexts lie |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for seed, finding in rows:
        [rank, partition, members, gap, _] = _first(finding)
        lines.append(
            f"| {seed} | {finding.side.upper()} | {rank} | {partition} | {members} | {gap} | {finding.own:.2f} "
            f"| {', '.join(f'{count} {name}' for name, count in finding.texts.items())} |"
        )
    return "\n".join(lines)
