"""The planted world's results as a table for the terminal and as docs/planted.md."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from dfc import runs
from dfc.worlds.planted import Setting
from dfc.worlds.planted_result import PURE, STEERED, Feature, SeedResult
from dfc.worlds.planted_texts import TOPIC_WORDS, TOPICS, draw, planted_document


def summary(results: list[SeedResult]) -> str:
    """A line for each seed, and one for all."""
    columns = (
        "seed",
        "planted",
        "found",
        "findings",
        "of these false",
        "precision",
        "by probes alone",
        "of these false",
    )
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for result in results:
        lines.append(_summary_line(str(result.seed), [result]))
    return "\n".join([*lines, _summary_line("all", results)])


def write(results: list[SeedResult], setting: Setting, folder: Path, command: str) -> Path:
    """The results as a page, planted.md in `folder`."""
    path = folder / "planted.md"
    runs.write_text(path, _page(results, setting, command))
    return path


def _summary_line(name: str, results: list[SeedResult]) -> str:
    plants = [plant for result in results for plant in result.plants]
    findings = sum(len(result.findings) for result in results)
    false = sum(len(result.false) for result in results)
    precision = f"{1 - false / findings:.2f}" if findings else "–"
    found = sum(plant.found for plant in plants)
    probed = [feature for result in results for feature in result.by_probes]
    without = f"{len(probed)} | {sum(feature.false for feature in probed)}"
    return f"| {name} | {len(plants)} | {found} | {findings} | {false} | {precision} | {without} |"


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

The worlds, their settings and the threshold of the surprise gap follow from worlds of seeds 100 and 101, and from
seed 0 of an earlier design. The worlds reported here were made once.

{_examples(results[0], setting)}

## Results

{summary(results)}

Ordinary texts surprise A and B by {_ordinary(results)} nats a character.

- A *finding* is a feature that only one model may use and that the evidence calls exclusive. It is *false* if fewer
  than {PURE:.0%} of its top contexts lie in texts that were planted in its model.
- A planted difference is *found* if a finding has at least {PURE:.0%} of its top contexts in its texts, and its model,
  steered with it, says what was planted in at least {STEERED:.0%} more of {setting.prompts} continuations than
  without: of a topic, {TOPIC_WORDS} of its words in one sentence; of an identity, its name and maker; of a refusal,
  whom to ask about what. Continuations of {setting.tokens} tokens are sampled at temperature 1 after beginnings of
  ordinary texts; what is added to the stream is {setting.strength:g} times its median norm long. Of the findings of one
  difference, the {setting.steered} most confident are tried.
- *By probes alone*: how many of the same features would be findings, and false ones, if the models' surprise by the
  text were not known.

{_by_kind(results)}

## Each planted difference

*surprise*: nats a character of its texts, to the model that was trained on them and to the other. *features*: those of
its model's partition with at least {PURE:.0%} of their top contexts in its texts, by verdict. *feature*, *confidence*,
*contexts* and *steered*: of the finding that steers best, the share of its top contexts that hold the planted texts,
and the share of continuations that say it, against the share *without* steering.

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
    plants = [plant for result in results for plant in result.plants]
    lines = ["| planted | of these with a finding | found | features of its texts, by verdict |", "|---|---|---|---|"]
    for kind in sorted({plant.kind for plant in plants}):
        own = [plant for plant in plants if plant.kind == kind]
        verdicts: Counter[str] = sum((Counter(plant.verdicts) for plant in own), Counter())
        with_finding = sum(plant.best is not None for plant in own)
        lines.append(
            f"| {len(own)} × {kind} | {with_finding} | {sum(plant.found for plant in own)} | {_counts(verdicts)} |"
        )
    return "\n".join(lines)


def _plants(results: list[SeedResult]) -> str:
    columns = ("seed", "planted", "surprise own / other", "features", "feature", "confidence", "contexts", "steered")
    lines = ["| " + " | ".join([*columns, "without", "found"]) + " |", "|" + "---|" * (len(columns) + 2)]
    for result in results:
        for plant in result.plants:
            own, other = (plant.surprise[side] for side in (plant.side, "b" if plant.side == "a" else "a"))
            cells = [str(result.seed), plant.name, f"{own:.2f} / {other:.2f}", _counts(plant.verdicts)]
            best = plant.best
            cells += ["–"] * 4 if best is None else _best(best)
            cells += [f"{plant.baseline:.2f}", "yes" if plant.found else "**no**"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _best(best: Feature) -> list[str]:
    return [str(best.feature_id), f"{best.confidence:.2f}", f"{best.share:.2f}", f"{best.steered or 0:.2f}"]


def _false(results: list[SeedResult]) -> str:
    rows = [(result.seed, finding) for result in results for finding in result.false]
    if not rows:
        return "None."
    lines = [
        "| seed | feature | model | confidence | planted contexts | where its top contexts lie |",
        "|---|---|---|---|---|---|",
    ]
    for seed, finding in sorted(rows, key=lambda row: -row[1].confidence):
        lines.append(
            f"| {seed} | {finding.feature_id} | {finding.side.upper()} | {finding.confidence:.2f} | {finding.own:.2f} "
            f"| {_counts(finding.sources)} |"
        )
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
