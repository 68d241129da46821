"""What the report on pairing counts, and what it shows of a text."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import ByT5Tokenizer

from dfc import config, models, runs
from dfc.activations import coverage, pairing, shards
from dfc.runs import Run
from tests import tiny


def test_counts_are_those_of_pairing(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    run = runs.create(tiny.tiny_config(tmp_path / "texts", tiny_models, corpus={"pairs": 100_000}))  # all there are
    pairing.pair(run)
    source = dict(enumerate(pq.read_table(run.corpus)["source"].to_pylist()))
    stored = [
        row
        for shard in range(pairing.count_shards(run))
        for row in shards.read_tokens(run.activations, shard).to_pylist()
    ]
    measured = coverage.measure(run.config(), 10_000)
    assert {part.source: part.documents for part in measured} == {"english": 20, "chinese": 20, "code": 20, "chats": 6}
    for part in measured:
        rows = [row for row in stored if source[row["document"]] == part.source]
        assert part.tokens_a == sum(len(row["ids_a"]) for row in rows)
        assert part.tokens_b == sum(len(row["ids_b"]) for row in rows)
        assert part.pairs == sum(len(row["ends"]) for row in rows)
        assert part.shares == (part.pairs / part.content_a, part.pairs / part.content_b)
        assert part.content_b < part.tokens_b  # <bos> at least
    whole = coverage.total(measured)
    assert (whole.source, whole.documents, whole.failed) == ("total", 66, 0)
    assert whole.pairs == len(shards.flatten(pq.read_table(run.activations / "tokens")))


def test_sources_are_drawn_by_weight(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models)
    sources = settings["corpus"]["sources"][:2]
    (tmp_path / "many.jsonl").write_text("\n".join(f'{{"text": "the river {n}"}}' for n in range(200)))
    sources[0] |= {"path": str(tmp_path / "many.jsonl"), "weight": 4}
    settings["corpus"]["sources"] = sources
    measured = coverage.measure(config.parse(settings, origin="test"), 80)
    assert {part.source: part.documents for part in measured} == {"english": 64, "chinese": 16}


def test_documents_that_fail_are_counted(
    tiny_models: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A slow tokenizer that takes every `n` for another letter loses its way at the first one."""

    class Forgetful(ByT5Tokenizer):
        def _tokenize(self, text: str) -> list[str]:
            return list(text.replace("n", "x"))

    tokenizers = {str(tiny_models[0]): Forgetful(), str(tiny_models[1]): tiny.metaspace_tokenizer()}
    monkeypatch.setattr(models, "load_tokenizer", lambda settings: tokenizers[settings.source])
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models)
    (tmp_path / "two.jsonl").write_text('{"text": "the river"}\n{"text": "rain and rain"}\n{"text": "old rain"}\n{}')
    settings["corpus"]["sources"] = [{"name": "two", "path": str(tmp_path / "two.jsonl")}]
    [measured] = coverage.measure(config.parse(settings, origin="test"), 10)
    assert "source `two`: left out 1 rows without" in capsys.readouterr().err
    assert (measured.documents, measured.failed) == (3, 2)
    assert measured.content_a == len("theriver" + "rai" + "oldrai")


def test_windows_of_a_text(tiny_run: Run) -> None:
    text = "the “river”\n👍 北京"
    found = coverage.windows(tiny_run.config(), text)
    assert all(window.paired for window in found[:-1])
    assert "<bos>" in found[0].tokens_b
    assert "".join(piece for window in found[:2] for piece in window.tokens_a).startswith("the")
    for window in found[1:]:
        if window.paired and all(piece.isascii() for piece in window.tokens_a + window.tokens_b):
            a, b = ("".join("".join(side).split()) for side in (window.tokens_a, window.tokens_b))
            assert a == b
    shown = coverage.side_by_side(found)
    assert len(shown.splitlines()) == len(found)  # a line break in the text is written out
    assert "\\n" in shown


def test_a_text_without_pairs_is_one_window(tiny_run: Run) -> None:
    [window] = coverage.windows(tiny_run.config(), " ")
    assert (window.tokens_a, window.tokens_b, window.paired) == ((), ("<bos>",), False)
    assert coverage.side_by_side([window]).endswith("(no pair)")
