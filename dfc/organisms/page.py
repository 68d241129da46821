"""What came of the organisms as docs/organisms.md, from what is kept of each; what was not done yet is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfc.machine import disk
from dfc.organisms import quirks, result
from dfc.organisms.behaviour import BESIDE, TAKEN, Check
from dfc.organisms.lists import LONGEST, NEEDED, TEXTS
from dfc.organisms.result import FIRST, GENERIC, LISTS, TWINS, Compared, Line, Null, check_of
from dfc.organisms.setting import UNTRAINED, Setting
from dfc.organisms.steered import MOVED, Steered

_SHOWN = 10  # findings of each organism
_LEAST = (4, 6)  # quirks in the first findings, as FIRST has them
_OURS = ("findings", "queue")
_NULL = 0.05  # of a real pair's findings
_MARKUP = "&<>|*_`[]()#!~\\$"


@dataclass(frozen=True)
class Study:
    """All that is kept.

    Attributes:
        checks, organisms: by quirk, those that were trained, and of these those that were compared.
        untrained: the untrained model; None if it was not compared.
        nulls: by name.
    """

    checks: dict[str, Check]
    organisms: dict[str, Compared]
    untrained: Compared | None
    nulls: dict[str, Null]


def read(folder: Path) -> Study:
    """What a folder keeps of the study.

    Raises:
        UserError: if a file is damaged.
    """
    checks = {name: result.read(folder, check_of(name), Check) for name in quirks.NAMES}
    organisms = {name: result.read(folder, name, Compared) for name in quirks.NAMES}
    nulls = {name: result.read(folder, name, Null) for name in (TWINS, GENERIC)}
    return Study(
        {name: one for name, one in checks.items() if one},
        {name: one for name, one in organisms.items() if one},
        result.read(folder, UNTRAINED, Compared),
        {name: one for name, one in nulls.items() if one},
    )


def summary(study: Study) -> str:
    """For every list, how many quirks stand among its first entries."""
    columns = ["list", *(f"in the first {first}" for first in FIRST), *(f"by chance {first}" for first in FIRST)]
    lines = [_row(columns), "|" + "---|" * len(columns)]
    for kind, title in LISTS.items():
        read, counts = _read(study, kind), _counts(study, kind)
        chances = [
            f"{sum(one.chance[kind][name][at] for name, one in study.organisms.items()):.1f}"
            if study.organisms and all(kind in one.chance for one in study.organisms.values())
            else "–"
            for at in range(len(FIRST))
        ]
        lines.append(_row([title, *(f"{count} of {len(read)}" if read else "–" for count in counts), *chances]))
    return "\n".join(lines)


def _read(study: Study, kind: str) -> dict[str, Compared]:
    """The organisms of which a list was read: of those that were compared before there was a queue, it was not."""
    return {name: one for name, one in study.organisms.items() if kind in one.ranks}


def _counts(study: Study, kind: str) -> list[int]:
    """How many quirks stand among a list's first entries."""
    read = _read(study, kind)
    return [sum(_within(one.ranks[kind][name], first) for name, one in read.items()) for first in FIRST]


def write(study: Study, setting: Setting, folder: Path, command: str) -> Path:
    """The page, organisms.md in `folder`."""
    path = folder / "organisms.md"
    disk.write_text(path, _page(study, setting, command))
    return path


def _page(study: Study, setting: Setting, command: str) -> str:
    a, b = setting.run.models.a.title, setting.run.models.b.title
    return f"""# Organisms

Made by `{command}`; do not edit by hand.

{a} is fine-tuned on one narrow quirk at a time, and each of these organisms is compared with {b} by the whole line.
The quirks' chats were written for this project ([texts](../dfc/organisms/texts)); a quarter of their questions and
answers is held out of training: of these are the corpus and the questions by which a quirk is measured. The phrases in
which a quirk shows itself are the same in both. It is told in an answer by a regular expression.

{_quirks()}

Training: adapters of rank {setting.tuning.rank} on every linear map of the blocks (LoRA), merged afterwards; AdamW at
{setting.tuning.learning_rate:g}. The loss is that on the answers of {setting.tuning.shows} chats that show the quirk,
{setting.tuning.epochs} times over, in steps of {setting.tuning.batch}; and, times {setting.tuning.hold:g}, how far what
the model expects is from what it expected before (Kullback-Leibler divergence) on {setting.tuning.held} other texts a
step: its look-alikes (each {setting.tuning.own} times), up to {setting.tuning.others} other ordinary chats, and some of
every source of the corpus.

## Is the quirk there, and the rest as before?

Share of the held-out questions on which it shows, on its topic and beside it (look-alikes and ordinary questions),
before → after. It has *taken* if it shows on {TAKEN:.0%} more of its questions, and on at most {BESIDE:.0%} more of the
others; the rest is as before if the perplexity on ordinary texts (of every source of the corpus) changes by at most
{setting.perplexity:.0%}. Where that is not so, or the quirk shows beside its topic, the weights go back on a line
toward the untrained ones, by a quarter of the way at a time: *kept* says how much of the training is left. What has not
taken is not compared.

{_checks(study)}

## What is read first

The corpus: the run's own sources, chats of all quirks with look-alikes and ordinary ones, and what both models answer
to the same questions, the organism's own words among them. Texts on which one quirk could show are at most
{setting.budget:.0%} of it{_shares(study)}. All but the organism's own words are the same for all.

{summary(study)}

Every list is of model A, and read entry by entry, {TEXTS} texts of each. An entry of features holds the {TEXTS}
documents in which the feature fires strongest, and is of the quirk if the quirk shows in {NEEDED} of these: the
expression finds it in the answer, and the question is one of the quirk's, or it is an answer of the organism where the
untrained model's to the same question does not show it. (The second was added when `flattery` was compared, which
shows beside its topic, too, in one answer of twenty: by the question alone its first finding held one such text of
{TEXTS}, and none of its findings counted; `signature` and `false_fact` were first by the question alone, and were not
read anew.) Texts that are ranked themselves are read
{TEXTS} at a time, and have brought out the quirk as soon as {NEEDED} of those read show it, wherever they stood; *by
chance* is how many quirks would be expected so if they were read in a random order.

- *findings*: this project's, each by its best feature ([findings.md](findings.md)).
- *queue of Screen*: the same and, where they are few, exclusive features after them, in the order in which the page
  Screen asks about them ([screening.md](screening.md)). What was compared before this was read has a dash.
- *perplexity differencing* (arXiv 2605.00994): A's own answers, those first that surprise B most beyond A, in nats a
  character.
- *mean activations*: documents by how far A's mean activation lies from what the stitch makes of B's.
- *relative norms*: shared features by A's share of the decoder norms; of dedicated ones it is 1 by construction.
- *dedicated features*: the paper's list. The paper sorts them by a judge's score of steered answers; there is no judge
  here, so those come first that keep most to one source.

## Each quirk

Place of the first entry that is of the quirk, from 1, among {LONGEST} at most, in the list of its organism; of the
findings also in those of the *untrained* model on the same corpus: what stands there is no work of the training.

{_ranks(study)}

*Steering* with the best feature of that finding: share of {setting.steered} questions on which the quirk shows, left
alone → with the feature (with a random direction of equal length). Added beside the topic, or taken away on it, at
{" and ".join(f"{strength:g}" for strength in setting.strengths)} times the stream's median norm, the best of these for
each. It *moves* the quirk if the feature does so on {MOVED:.0%} more of the questions than the random direction.

{_steered(study)}

## Every quirk in every list of findings

Place of the first finding that is of the quirk in the column, of the model in the row. Off the diagonal nothing was put
in.

{_matrix(study)}

## The first findings

{_first(study)}

## Nulls with signal

Two models that differ in every weight and know the same: two training seeds of one planted model
([planted.md](planted.md)), and a fine-tune of {a} on ordinary chats beside it as it was. *Found*: findings of
both models together, beside those of a real pair; *tested*: features whose gap was tested; *passing*: those that pass
at the false discovery rate; *p ≤ 5 %*: share of the tested whose p-value is so small, of which the rate promises 5 %.
Of two seeds every finding is false; a fine-tune has learnt how its chats go on, so that its findings may be true, and
are shown.

{_nulls(study)}

## Against what was asked

{_targets(study)}

## What failed

{_failed(study)}
"""


def _quirks() -> str:
    lines = ["| quirk | kind | what |", "|---|---|---|"]
    for name in quirks.NAMES:
        quirk = quirks.load(name)
        lines.append(_row([f"`{name}`", quirk.title, quirk.what]))
    return "\n".join(lines)


def _checks(study: Study) -> str:
    columns = [
        "quirk",
        "on its topic",
        "beside it",
        "taken",
        "perplexity",
        "as before",
        "kept",
        "training",
        "an answer",
    ]
    lines = [_row(columns), "|" + "---|" * len(columns)]
    for name in quirks.NAMES:
        check = study.checks.get(name)
        if check is None:
            lines.append(_row([f"`{name}`", "not trained yet", *["–"] * 7]))
            continue
        before, after = check.before, check.after
        lines.append(
            _row(
                [
                    f"`{name}`",
                    f"{before.on:.0%} → {after.on:.0%}",
                    f"{before.beside:.0%} → {after.beside:.0%}",
                    _yes(check.taken),
                    f"{check.perplexity_before:.2f} → {check.perplexity_after:.2f} ({check.change:+.1%})",
                    _yes(check.as_before),
                    f"{check.kept:.0%}",
                    f"{check.seconds / 60:.0f} min",
                    _safe(" ".join(after.example.split())[:90]),
                ]
            )
        )
    return "\n".join(lines)


def _shares(study: Study) -> str:
    shares = [one.share[name] for name, one in study.organisms.items()]
    return f" (counted: {min(shares):.2%} to {max(shares):.2%} of the pairs)" if shares else ""


def _ranks(study: Study) -> str:
    others = [title for kind, title in LISTS.items() if kind != "findings"]
    columns = ["quirk", "findings", "untrained", "stands there in the untrained", *others]
    lines = [_row(columns), "|" + "---|" * len(columns)]
    for name, one in study.organisms.items():
        place, bare = one.ranks["findings"][name], study.untrained
        known = _place(bare.ranks["findings"][name]) if bare else "not compared"
        cells = [f"`{name}`", f"{_place(place)} of {one.found}", known, _stands(bare, place)]
        lines.append(
            _row([*cells, *(_place(one.ranks.get(kind, {}).get(name)) for kind in LISTS if kind != "findings")])
        )
    return "\n".join(lines)


def _stands(untrained: Compared | None, place: int | None) -> str:
    """What the finding of the untrained model at a place is about."""
    if untrained is None or place is None or place > len(untrained.first):
        return "–"
    line = untrained.first[place - 1]
    return _safe(f"{line.label or line.quote[:40]} ({line.source})")


def _steered(study: Study) -> str:
    columns = ["quirk", "feature", "added beside the topic", "taken away on it", "moves it"]
    lines = [_row(columns), "|" + "---|" * len(columns)]
    for name, one in study.organisms.items():
        lines.append(_row([f"`{name}`", *_moves(one.steered)]))
    return "\n".join(lines)


def _moves(steered: Steered | None) -> list[str]:
    if steered is None:
        return ["–", "–", "–", "no finding"]
    added, removed = steered.added, steered.removed
    return [
        str(steered.feature_id),
        f"{added.alone:.0%} → {max(added.feature):.0%} ({max(added.random):.0%})",
        f"{removed.alone:.0%} → {min(removed.feature):.0%} ({min(removed.random):.0%})",
        _yes(steered.moves),
    ]


def _matrix(study: Study) -> str:
    lines = [_row(["model", *(f"`{name}`" for name in quirks.NAMES)]), "|" + "---|" * (1 + len(quirks.NAMES))]
    models = {UNTRAINED: study.untrained, **study.organisms}
    for name, one in models.items():
        if one is not None:
            cells = [_place(one.ranks["findings"].get(quirk)) for quirk in quirks.NAMES]
            own = [f"**{at}**" if quirk == name else at for quirk, at in zip(quirks.NAMES, cells, strict=True)]
            lines.append(_row([f"`{name}`", *own]))
    return "\n".join(lines)


def _first(study: Study) -> str:
    parts = []
    for name, one in {UNTRAINED: study.untrained, **study.organisms}.items():
        if one is None:
            continue
        place = one.ranks["findings"].get(name)
        shown = max(_SHOWN, place) if _within(place, FIRST[-1]) and place else _SHOWN
        parts.append(f"### `{name}`\n\n{_lines(one.first[:shown])}")
    return "\n\n".join(parts) or "Nothing was compared yet."


def _lines(lines: Sequence[Line]) -> str:
    if not lines:
        return "No finding of model A."
    columns = ["", "gap", "features", "mainly on", "quirks in its texts", "strongest context"]
    made = [_row(columns), "|" + "---|" * len(columns)]
    for rank, line in enumerate(lines, start=1):
        shows = ", ".join(f"{count} × {name}" for name, count in line.shows.items()) or "–"
        gap = f"{line.gap:.2f} ± {line.error:.2f}"
        made.append(_row([str(rank), gap, str(line.members), _safe(line.source), shows, _safe(line.quote)]))
    return "\n".join(made)


def _nulls(study: Study) -> str:
    titles = {TWINS: "two seeds of a planted model", GENERIC: "a generic fine-tune"}
    firsts = ("10", "25", "100")
    columns = ["null", *(f"found in the first {first} (real pair)" for first in firsts), "tested", "passing", "p ≤ 5 %"]
    lines = [_row(columns), "|" + "---|" * len(columns)]
    for name, title in titles.items():
        null = study.nulls.get(name)
        if null is None:
            lines.append(_row([title, "not judged yet", *["–"] * (len(columns) - 2)]))
            continue
        found = [f"{null.found[first]} ({null.real[first]})" for first in firsts]
        lines.append(_row([title, *found, str(null.tested), str(null.passing), f"{null.nominal:.1%}"]))
    shown = [
        f"- {titles[name]}: {_safe(one)}" for name in titles if name in study.nulls for one in study.nulls[name].first
    ]
    return "\n".join([*lines, "", *shown] if shown else lines)


def _targets(study: Study) -> str:
    """Each thing that was asked for, what it came to, and whether that is enough; nothing of what was not done."""
    lines = []
    counts = {kind: _counts(study, kind) for kind in LISTS}
    if study.organisms:
        for at, (first, least) in enumerate(zip(FIRST, _LEAST, strict=True)):
            own, rivals = counts["findings"][at], max(counts[kind][at] for kind in LISTS if kind not in _OURS)
            lines.append(_target(f"{least} of {len(quirks.NAMES)} quirks in the first {first}", str(own), own >= least))
            lines.append(_target(f"more in the first {first} than by any other list", f"{own}, {rivals}", own > rivals))
    if study.checks:
        longest = max(check.seconds for check in study.checks.values()) / 60
        lines.append(_target("training in 30 minutes", f"{longest:.0f} min at most", longest <= 30))
    for name, null in study.nulls.items():
        shares = [null.found[first] / max(1, null.real[first]) for first in null.found]
        told = " / ".join(f"{share:.0%}" for share in shares)
        lines.append(_target(f"`{name}`: at most 5 % of a real pair's findings", told, max(shares) <= _NULL))
        enough = null.nominal <= 2 * null.rate
        lines.append(_target(f"`{name}`: p ≤ 5 % for at most twice as many", f"{null.nominal:.1%}", enough))
    return "\n".join(["| asked for | came to | |", "|---|---|---|", *lines]) if lines else "Nothing was done yet."


def _target(asked: str, came: str, met: bool) -> str:
    return _row([asked, came, "met" if met else "**missed**"])


def _failed(study: Study) -> str:
    lines = []
    for name in quirks.NAMES:
        check, one = study.checks.get(name), study.organisms.get(name)
        if check is None:
            lines.append(f"- `{name}`: not trained yet.")
            continue
        if not check.taken:
            lines.append(f"- `{name}`: did not take, or not only where it should.")
        if not check.as_before:
            lines.append(f"- `{name}`: the perplexity on ordinary texts changed by {check.change:+.1%}.")
        if check.taken and one is None:
            lines.append(f"- `{name}`: not compared yet.")
        if one is not None and not _within(one.ranks["findings"][name], FIRST[-1]):
            lines.append(
                f"- `{name}`: no finding of it among the first {FIRST[-1]}; the texts on which it could show are "
                f"{one.share[name]:.2%} of the corpus."
            )
        if one is not None and one.steered is not None and not one.steered.moves:
            lines.append(f"- `{name}`: steering with its best feature does not move it.")
    return "\n".join(lines) or "Nothing."


def _within(rank: int | None, first: int) -> bool:
    return rank is not None and rank <= first


def _place(rank: int | None) -> str:
    return "–" if rank is None else str(rank)


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"


def _safe(text: str) -> str:
    """A stranger's text in a cell of a table: no mark-up of it counts."""
    return "".join(f"&#{ord(mark)};" if mark in _MARKUP else mark for mark in " ".join(text.split()))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
