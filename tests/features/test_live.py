from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from dfc import config, corpus
from dfc.activations import documents as stored
from dfc.activations import harvest, shards
from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side, UserError
from dfc.corpus import Document, Tally, Turn
from dfc.features import live
from dfc.features.encoding import encode_shard
from dfc.features.live import Live, Reading
from dfc.runs import Run
from dfc.store.reader import Context, Store


@pytest.fixture(scope="module")
def opened(tiny_run: Run) -> Live:
    return live.open_run(tiny_run)


def documents_of(run: Run) -> Iterator[tuple[int, Document]]:
    table = stored.read(run)
    for number in range(table.num_rows):
        yield number, stored.document(table, number)


def expected(opened: Live, number: int) -> np.ndarray:
    """Dense codes of a stored document's pairs, (pairs, features), from the stored rows; NaN where one does not count.

    An independent way: whole shards as the index reads them.
    """
    store = ActivationStore(opened.run.activations)
    shard = live.shard_of(opened.run, number)
    rows = store.rows(shard)
    mine = np.flatnonzero(rows.document == number)
    codes = encode_shard(opened.crosscoder, kept_rows(store, shard), batch=512)
    dense = np.zeros((len(rows), opened.crosscoder.config.features), dtype=np.float32)
    dense[codes.rows, codes.features] = codes.values
    dense[~store.keep(shard, rows)] = np.nan
    return dense[mine]


def dense_of(reading: Reading, features: int) -> np.ndarray:
    return np.stack([reading.activations(feature) for feature in range(features)], axis=1)


def test_every_stored_document_reads_as_it_is_stored(opened: Live) -> None:
    features = opened.crosscoder.config.features
    for number, document in documents_of(opened.run):
        found = dense_of(live.read(opened, document), features)
        np.testing.assert_allclose(found, expected(opened, number), rtol=1e-3, atol=1e-3)


def test_every_context_of_a_document_is_found_again(opened: Live) -> None:
    store = Store(opened.run.store)
    contexts = [context for feature in range(64) for context in store.contexts(feature)]
    number = max((context.document for context in contexts), key=[c.document for c in contexts].count)
    reading = live.read(opened, stored.find(opened.run, number))
    mine = [context for context in contexts if context.document == number]
    assert len(mine) > 3
    for context in mine:
        assert stands_in(context, reading.context(context.feature_id))


def stands_in(part: Context, whole: Context) -> bool:
    """Whether a stretch is part of a text, with the same tokens and activations in both models."""
    for tokens, values, all_tokens, all_values in (
        (part.tokens_a, part.activations_a, whole.tokens_a, whole.activations_a),
        (part.tokens_b, part.activations_b, whole.tokens_b, whole.activations_b),
    ):
        length = len(tokens)
        starts = [at for at in range(len(all_tokens)) if all_tokens[at : at + length] == tokens]
        expected = np.array(values, dtype=float)  # None is NaN
        if not any(
            np.allclose(np.array(all_values[at : at + length], dtype=float), expected, 1e-3, 1e-3, equal_nan=True)
            for at in starts
        ):
            return False
    return True


def test_an_int8_store_is_met_with_the_factors_of_its_shards(tiny_copy: Run) -> None:
    settings = tiny_copy.config()
    int8 = settings.model_copy(update={"harvest": settings.harvest.model_copy(update={"format": "int8"})})
    (tiny_copy.path / "run.yaml").write_text(config.dump(int8))
    for side in SIDES:
        shutil.rmtree(tiny_copy.activations / side)
    harvest.harvest([tiny_copy])
    opened = live.open_run(tiny_copy)
    features = opened.crosscoder.config.features
    close = []
    for number, document in documents_of(tiny_copy):
        shard = live.shard_of(tiny_copy, number)
        found, stored_codes = dense_of(live.read(opened, document, shard=shard), features), expected(opened, number)
        close.append(np.isclose(found, stored_codes, 1e-3, 1e-3, equal_nan=True).ravel())
    # A coordinate whose code is rounded the other way moves by 1 / 127 of the row's largest, not by 2⁻⁸ of itself.
    assert np.concatenate(close).mean() > 0.9999


@pytest.mark.parametrize("side", SIDES)
def test_rows_of_a_shard_are_as_they_were_stored(tiny_run: Run, side: config.Side) -> None:
    rows = shards.read_rows(tiny_run.activations, side, 0)
    assert shards.as_stored(tiny_run.activations, side, 0, rows.float()).equal(rows)


def test_which_shard_a_document_is_in(tiny_run: Run) -> None:
    store = ActivationStore(tiny_run.activations)
    assert len(store) > 1
    for shard in range(len(store)):
        assert {live.shard_of(tiny_run, int(number)) for number in store.rows(shard).document} == {shard}
    assert live.shard_of(tiny_run, 10**6) == 0


def test_a_chat_is_read_in_each_model_s_own_template(opened: Live) -> None:
    reading = live.read(
        opened, live.prompt([("user", " Will it rain? "), ("assistant", "今天会下雨。"), ("user", " ")])
    )
    assert "".join(reading.tokens["a"]).endswith("assistant\n今天会下雨。<|im_end|>\n")
    assert "".join(reading.tokens["b"]) == "User: Will it rain?\n\nAssistant: 今天会下雨。"
    for side in SIDES:
        paired = {reading.tokens[side][token].strip() for token in reading.index[side].tolist()}
        assert not paired & {"user", "User:", "<|im_end|>"}


def test_first_tokens_do_not_count(opened: Live) -> None:
    reading = live.read(opened, live.prompt([("text", "the old bridge and the old river under the rain")]))
    late = np.minimum(reading.index["a"], reading.index["b"]) >= opened.manifest.skip_first
    assert not reading.kept[~late].any()
    assert reading.kept.any()
    short = live.read(opened, live.prompt([("text", "the")]))
    assert not short.kept.any()
    assert not len(short.values)
    assert short.context(0).peak == 0


def test_a_text_that_is_too_long_is_cut_as_in_harvesting(opened: Live) -> None:
    reading = live.read(opened, live.prompt([("text", "the old bridge " * 400)]))
    assert reading.cut == ("a", "b")
    assert all(len(reading.tokens[side]) == 256 for side in SIDES)
    assert live.read(opened, live.prompt([("text", "the old bridge")])).cut == ()


def test_documents_read_together_read_as_alone(opened: Live) -> None:
    features = opened.crosscoder.config.features
    documents = [document for _, document in documents_of(opened.run)][:9]
    long, short = live.prompt([("text", "the old bridge " * 400)]), live.prompt([("text", "the")])
    noted: dict[Side, Tally] = {side: Tally() for side in SIDES}
    places = [(f"prompt {number}", one) for number, one in enumerate([*documents, long, short])]
    readings = live.read_together(opened, places, noted)
    for (_, document), together in zip(places, readings, strict=True):
        alone = live.read(opened, document)
        assert together.tokens == alone.tokens
        assert together.cut == alone.cut
        np.testing.assert_array_equal(together.why, alone.why)
        np.testing.assert_allclose(dense_of(together, features), dense_of(alone, features), rtol=1e-3, atol=1e-3)
    assert readings[-2].cut == ("a", "b")
    assert noted["b"].rows.get("framed", 0) == sum(document.is_chat for document in documents)


def test_a_document_that_a_template_refuses_has_no_pairs_and_is_noted(opened: Live) -> None:
    tokenizer = opened.models["a"].tokenizer
    template = tokenizer.chat_template
    noted: dict[Side, Tally] = {side: Tally() for side in SIDES}
    chat, text = live.prompt([("user", "Will it rain under the bridge?")]), live.prompt([("text", "the old bridge")])
    tokenizer.chat_template = "{{ raise_exception('no chats') }}"
    try:
        refused, read = live.read_together(opened, [("prompt 1", chat), ("prompt 2", text)], noted)
        [alone] = live.read_together(opened, [("prompt 1", chat)], noted)
    finally:
        tokenizer.chat_template = template
    assert refused.pairs == alone.pairs == 0
    assert read.pairs > 0
    assert noted["a"].rows == {"refused": 2}
    assert noted["a"].first == {"refused": "prompt 1"}


@pytest.mark.parametrize("turns", [[("text", "")], [("text", " \n ")], [("user", ""), ("assistant", "\t")], []])
def test_nothing_to_read_is_one_sentence(turns: list[tuple[str, str]]) -> None:
    with pytest.raises(UserError, match="nothing to read"):
        live.prompt(turns)


def test_whoever_waits_for_a_model_is_told(opened: Live) -> None:
    told: list[str] = []
    heard = threading.Event()

    def report(message: str) -> None:
        told.append(message)
        if "Somebody else" in message:
            heard.set()

    document = live.prompt([("text", "the old bridge and the river")])
    with opened.models["a"].lock:
        reader = threading.Thread(target=lambda: live.read(opened, document, report))
        reader.start()
        assert heard.wait(20)
        assert reader.is_alive()
    reader.join(20)
    assert told[0].startswith("Somebody else is using tiny-llama")
    assert told[-1] == "tiny-gemma reads the text …"


def test_models_and_crosscoder_are_loaded_once(tiny_run: Run) -> None:
    one, other = live.open_run(tiny_run), live.open_run(tiny_run)
    assert one.crosscoder is other.crosscoder
    assert all(one.models[side] is other.models[side] for side in SIDES)


def test_one_document_is_found_without_the_others(tiny_run: Run) -> None:
    table = stored.read(tiny_run)
    for number in (0, 7, table.num_rows - 1):
        assert stored.find(tiny_run, number) == stored.document(table, number)
    with pytest.raises(UserError, match="document 100000 does not exist in this run; its documents are 0 to"):
        stored.find(tiny_run, 100_000)


def test_prompt_cleans_as_a_corpus_does() -> None:
    assert live.prompt([("user", " a\ud800 ")]) == Document("prompt", (Turn("user", corpus.clean("a\ud800")),))
