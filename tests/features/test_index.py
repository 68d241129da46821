"""The index against brute force: everything the store says about the tiny run, computed densely."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc import models
from dfc.activations import documents as stored
from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, RunConfig
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Crosscoder
from dfc.features import index, logit_lens
from dfc.features.statistics import HISTOGRAM_EDGES, QUANTILE_LEVELS, LargestOfEach
from dfc.features.unfinished import Unfinished
from dfc.runs import Run
from dfc.store import SCHEMA_VERSION
from dfc.store.reader import FeatureQuery, Store

FEATURES = range(64)


@dataclass(frozen=True)
class Dense:
    """Every activation of the run, (kept rows, features), and where each row comes from."""

    config: RunConfig
    crosscoder: Crosscoder
    codes: npt.NDArray[np.float32]
    x: torch.Tensor
    document: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.bool_]
    source: list[str]
    role: npt.NDArray[np.int8]


@pytest.fixture(scope="module")
def dense(tiny_run: Run) -> Dense:
    store = ActivationStore(tiny_run.activations)
    crosscoder = crosscoder_model.load(tiny_run.crosscoder)
    documents = stored.read(tiny_run)["source"].to_pylist()
    rows = [kept_rows(store, shard) for shard in range(len(store))]
    x = torch.cat([part.x for part in rows])
    codes = torch.zeros(len(x), 64)
    found = crosscoder.encode(x)
    codes[found.rows, found.features] = found.values
    document = torch.cat([part.document for part in rows]).numpy()
    ends = np.concatenate([store.rows(part.shard).end[part.row.numpy()] for part in rows])
    held_out = torch.cat([part.held_out for part in rows]).numpy()
    source = [documents[number] for number in document]
    role = np.concatenate([store.rows(part.shard).role[part.row.numpy()] for part in rows])
    return Dense(tiny_run.config(), crosscoder, codes.numpy(), x, document, ends, held_out, source, role)


@pytest.fixture(scope="module")
def store(tiny_run: Run) -> Store:
    return Store(tiny_run.store)


def test_numbers_of_every_feature(dense: Dense, store: Store) -> None:
    sources = [source.name for source in dense.config.corpus.sources]
    of_source = np.array([sources.index(name) for name in dense.source])
    for feature in FEATURES:
        row, values = store.feature(feature), dense.codes[:, feature]
        fired = values[values > 0]
        assert row.count == len(fired)
        assert row.alive == bool(len(fired))
        assert row.density == pytest.approx(len(fired) / len(values))
        assert row.max == pytest.approx(values.max())
        assert row.mean == pytest.approx(fired.mean() if len(fired) else 0.0, rel=1e-5)
        assert row.variance == pytest.approx(fired.var() if len(fired) else 0.0, rel=1e-4, abs=1e-6)
        assert row.histogram == np.histogram(fired, HISTOGRAM_EDGES)[0].tolist()
        counts = {name: int((values[of_source == i] > 0).sum()) for i, name in enumerate(sources)}
        listed = store.sources(feature)
        assert dict(zip(listed["source"], listed["count"], strict=True)) == {k: n for k, n in counts.items() if n}
        said = store.roles(feature).set_index("role")
        for number, role in enumerate(stored.ROLES):
            own = values[dense.role == number] > 0
            assert said["count"].get(role, 0) == own.sum()
            assert said["rate"].get(role, 0.0) == pytest.approx(own.mean() if len(own) else 0.0)
        if len(fired) > 1:
            exact = np.quantile(fired, QUANTILE_LEVELS, method="inverted_cdf")
            cells = np.searchsorted(HISTOGRAM_EDGES, [exact, row.quantiles], side="right")
            assert np.all(np.abs(cells[0] - cells[1]) <= 1)
        assert 0 <= row.specificity <= 1
        assert row.main_source == (
            max(sources, key=lambda name: _smoothed(name, counts, dense.source)) if len(fired) else ""
        )


def _smoothed(name: str, counts: dict[str, int], source: list[str]) -> float:
    return counts[name] / source.count(name) + 10 / len(source)


def test_facts(dense: Dense, store: Store, tiny_run: Run) -> None:
    facts = store.facts()
    assert facts["schema_version"] == SCHEMA_VERSION
    assert facts["kept_pairs"] == len(dense.codes)
    assert facts["pairs"] - facts["dropped_pairs"] == len(dense.codes)
    assert facts["l0"] == pytest.approx((dense.codes > 0).sum() / len(dense.codes))
    assert facts["role_pairs"] == {role: int((dense.role == n).sum()) for n, role in enumerate(stored.ROLES)}
    assert facts["role_pairs"]["user"] > 0
    assert facts["coactivation_pairs"] == len(dense.codes)
    partitions = np.array(dense.crosscoder.partitions())
    for name in ("a", "b", "shared"):
        assert facts[f"alive_{name}"] == pytest.approx((dense.codes[:, partitions == name] > 0).any(axis=0).mean())
    held_out = dense.x[torch.from_numpy(dense.held_out)]
    with torch.no_grad():
        rebuilt = dense.crosscoder.decode(dense.crosscoder.encode(held_out), len(held_out))
    for side, part in zip(SIDES, (slice(0, 32), slice(32, 72)), strict=True):
        error = (held_out - rebuilt)[:, part].square().sum()
        variance = (held_out - held_out.mean(0))[:, part].square().sum()
        assert facts[f"fve_{side}"] == pytest.approx(float(1 - error / variance), abs=1e-4)
        assert store.models()["fve"][side] == facts[f"fve_{side}"]


def test_top_contexts_are_the_strongest_documents(dense: Dense, store: Store) -> None:
    for feature in FEATURES:
        values = dense.codes[:, feature]
        peaks = {int(d): values[dense.document == d].max() for d in np.unique(dense.document[values > 0])}
        shown = [context for context in store.contexts(feature) if context.band == 0]
        assert len(shown) == min(len(peaks), dense.config.index.top_contexts)
        expected = sorted(peaks.values(), reverse=True)[: len(shown)]
        assert [context.peak for context in shown] == pytest.approx(expected)
        for context in shown:
            assert peaks[context.document] == pytest.approx(context.peak)


def test_bands_fall_and_no_document_comes_twice(store: Store) -> None:
    several = 0
    for feature in FEATURES:
        contexts = store.contexts(feature)
        assert [(c.band, c.rank) for c in contexts] == sorted((c.band, c.rank) for c in contexts)
        documents = [context.document for context in contexts]
        assert len(set(documents)) == len(documents)
        bands = [[c.peak for c in contexts if c.band == band] for band in range(1, 5)]
        filled = [band for band in bands if band]
        several += len(filled) == 4
        for higher, lower in pairwise(filled):
            assert min(higher) >= max(lower)
    assert several > 5


def test_contexts_show_the_text_and_its_activations(dense: Dense, store: Store, tiny_run: Run) -> None:
    """On plain texts both tokenisations show the same stretch, and each paired token its own activation."""
    documents = stored.read(tiny_run)
    checked = 0
    for feature in FEATURES:
        values = dense.codes[:, feature]
        for context in store.contexts(feature):
            for tokens, activations, peak in (
                (context.tokens_a, context.activations_a, context.peak_a),
                (context.tokens_b, context.activations_b, context.peak_b),
            ):
                assert len(tokens) == len(activations)
                assert activations[peak] == pytest.approx(context.peak)
                shown = [value for value in activations if value]
                assert max(shown) <= context.peak * (1 + 1e-6)
            document = stored.document(documents, context.document)
            if document.is_chat:
                continue
            text = document.turns[0].content
            stretch = "".join(context.tokens_b)
            assert "".join(context.tokens_a).strip() == stretch.strip()
            assert stretch in text
            # Among the stretch's paired tokens, those that fire are those of the dense codes.
            ends = dense.end[(dense.document == context.document) & (values > 0)]
            position = _place(
                text, context.tokens_a, context.peak_a, int(ends[np.argmax(_peak(values, dense, context.document))])
            )
            inside = [end for end in ends if position < end <= position + len(stretch)]
            assert len(inside) == sum(1 for value in context.activations_a if value)
            checked += 1
    assert checked > 100


def _peak(values: npt.NDArray[np.float32], dense: Dense, document: int) -> npt.NDArray[np.float32]:
    own = values[dense.document == document]
    return own[own > 0]


def _place(text: str, tokens: list[str], peak: int, end: int) -> int:
    """Where a stretch begins whose peak token's content ends at `end`."""
    upto = "".join(tokens[: peak + 1]).rstrip()
    assert text[:end].endswith(upto)
    return end - len(upto)


def test_norms(dense: Dense, store: Store) -> None:
    """In the typical deviation of each model's scaled stream, and in the stream's own units."""
    table, facts, models_ = store.norms(), store.facts(), store.models()
    for side, columns in (("a", slice(0, 32)), ("b", slice(32, 72))):
        ids, vectors = dense.crosscoder.decoder_vectors(side)  # type: ignore[arg-type]
        x = dense.x[:, columns].double().numpy()
        variance = ((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()
        assert facts[f"variance_{side}"] == pytest.approx(variance, rel=1e-6)
        scale = np.array(models_.loc[side, "scale"])
        assert scale == pytest.approx(dense.crosscoder.scale[columns].numpy())
        expected, raw = np.zeros((2, 64))
        expected[ids.numpy()] = np.linalg.norm(vectors.numpy(), axis=1) / np.sqrt(variance)
        raw[ids.numpy()] = np.linalg.norm(vectors.numpy() / scale, axis=1)
        assert table[f"norm_{side}"].to_numpy() == pytest.approx(expected, rel=1e-5)
        assert table[f"raw_norm_{side}"].to_numpy() == pytest.approx(raw, rel=1e-5)
    shared = table[table["partition"] == "shared"]
    relative = shared["norm_a"] / (shared["norm_a"] + shared["norm_b"])
    assert shared["relative_norm"].to_numpy() == pytest.approx(relative.to_numpy(), rel=1e-5)
    assert set(table["relative_norm"][table["partition"] == "a"]) == {1.0}
    assert set(table["relative_norm"][table["partition"] == "b"]) == {0.0}


def test_encoders(dense: Dense, store: Store) -> None:
    """By how much activations grow along the encoder, found by moving what is encoded; and its cosine with what is
    written there."""
    facts, step, base = store.facts(), 1e-2, dense.x[:1]
    for part in dense.crosscoder.parts:
        for side, columns in (("a", slice(0, 32)), ("b", slice(32, 72))):
            for place, feature in list(enumerate(range(part.first_id, part.first_id + len(part))))[::5]:
                row = store.feature(feature)
                norm, cosine = (getattr(row, f"{name}_{side}") for name in ("encoder_norm", "encoder_decoder"))
                if side not in part.sides:
                    assert (norm, cosine) == (0.0, None)
                    continue
                own = part.of_side(side)  # type: ignore[arg-type]
                encoder, decoder = part.encoder.detach()[place, own], part.decoder.detach()[place, own]
                moved = base.clone()
                moved[:, columns] += step * encoder / encoder.norm()
                before, after = (
                    part.gain * (dense.crosscoder.seen(x)[:, part.reads] - dense.crosscoder.decoder_bias[part.columns])
                    @ part.encoder[place] for x in (base, moved)
                )  # fmt: skip
                growth = float((after - before).detach()) / step * facts[f"variance_{side}"] ** 0.5
                assert norm == pytest.approx(growth, rel=1e-2)
                assert cosine == pytest.approx(float(torch.cosine_similarity(encoder, decoder, dim=0)), abs=1e-5)


def test_logit_lens_is_norm_and_unembedding(dense: Dense, store: Store) -> None:
    scale = dict(zip(SIDES, dense.crosscoder.scale.split(dense.crosscoder.widths), strict=True))
    for side in SIDES:
        loaded = models.load(dense.config.models.side(side))
        inner, head = loaded.model.model, loaded.model.lm_head
        ids, vectors = dense.crosscoder.decoder_vectors(side)
        for feature, vector in list(zip(ids.tolist(), vectors, strict=True))[:: len(ids) // 8]:
            with torch.no_grad():
                logits = head(inner.norm(1e3 * (vector / scale[side])[None]))[0]  # long, so that ε counts for nothing
            logits -= logits.mean()
            lens = store.logits(feature)
            for direction, sign in (("promoted", 1), ("suppressed", -1)):
                rows = lens[(lens["side"] == side) & (lens["direction"] == direction)]
                expected = sign * (sign * logits).topk(5).values
                assert rows["value"].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
                assert rows["rank"].tolist() == list(range(5))
            counts = store.logit_counts(feature).set_index("side").loc[side]
            assert [counts["least"], counts["most"]] == pytest.approx(
                [float(logits.min()), float(logits.max())], abs=1e-4
            )
            assert sum(counts["counts"]) == len(logits)
            assert (
                np.abs(counts["counts"] - np.histogram(logits, logit_lens.BINS)[0]).sum() <= 4
            )  # at the edges of bins
    assert set(store.logits(0)["side"]) == {"a"}
    assert set(store.logits(63)["side"]) == {"a", "b"}


def test_partners_are_those_that_fire_on_the_same_pairs(dense: Dense, store: Store) -> None:
    fired = dense.codes > 0
    together = fired.T.astype(np.int64) @ fired
    for feature in FEATURES:
        found = store.coactivations(feature)
        assert feature not in found["other_id"].tolist()
        for row in found.itertuples():
            assert row.together == together[feature, row.other_id]
            assert row.phi == pytest.approx(np.corrcoef(fired[:, feature], fired[:, row.other_id])[0, 1], abs=1e-6)


def test_labels_name_what_the_texts_hold(store: Store, tiny_run: Run) -> None:
    """If there are any: what random models fire on, words seldom tell."""
    texts = ["".join(contents) for contents in stored.read(tiny_run)["contents"].to_pylist()]
    table = store.features(FeatureQuery())
    labelled = table[table["label"] != ""]
    for feature, label in zip(labelled["feature_id"], labelled["label"], strict=True):
        assert store.feature(feature).label_origin == "words"
        assert 0.7 <= (store.feature(feature).label_auroc or 0) <= 1
        for part in label.split(" · "):
            assert any(part in text for text in texts)
    unnamed = [store.feature(feature).label_auroc for feature in table["feature_id"][table["label"] == ""]]
    assert set(unnamed) == {None}


def test_features_come_in_the_order_of_their_ids(store: Store) -> None:
    table = store.features(FeatureQuery(alive_only=False, order="feature_id", descending=False))
    assert table["feature_id"].tolist() == list(FEATURES)


@settings(max_examples=60, deadline=None)
@given(
    offers=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1_000)), max_size=12), min_size=1, max_size=5),
    size=st.integers(1, 4),
)
def test_largest_of_each_against_sorting(offers: list[list[tuple[int, int]]], size: int) -> None:
    table, rows = LargestOfEach(4, size), 0
    everything: list[tuple[int, int, int]] = []
    for offer in offers:
        numbered = [(feature, key, rows + i) for i, (feature, key) in enumerate(offer)]
        rows += len(offer)
        everything += numbered
        columns = np.array(numbered, dtype=np.int64).reshape(-1, 3)
        keys = columns[:, 1].astype(np.float32)
        table.offer(columns[:, 0], keys, 2 * keys, columns[:, 2])
    for feature in range(4):
        expected = sorted((key for f, key, _ in everything if f == feature), reverse=True)[:size]
        held = np.isfinite(table.keys[feature])
        assert table.keys[feature][held].tolist() == expected
        assert table.values[feature][held].tolist() == [2 * key for key in expected]
        origin = {row: (f, key) for f, key, row in everything}
        assert all(origin[int(row)][0] == feature for row in table.rows[feature][held])
        assert len(set(table.rows[feature][held].tolist())) == len(expected)


def test_the_logit_lens_reads_what_is_added_to_the_stream_itself(tiny_copy: Run) -> None:
    """With a scale for each column, that is the decoder vector with each column scaled back."""
    crosscoder = crosscoder_model.load(tiny_copy.crosscoder)
    crosscoder.scale.copy_(torch.linspace(0.1, 5.0, 72))
    for side, columns in (("a", slice(0, 32)), ("b", slice(32, 72))):
        ids, vectors = crosscoder.decoder_vectors(side)  # type: ignore[arg-type]
        loaded = models.load(tiny_copy.config().models.side(side))  # type: ignore[arg-type]
        tokens = tiny_copy.config().index.logit_tokens
        expected = logit_lens.logit_lens(loaded, side, ids, vectors / crosscoder.scale[columns], tokens)  # type: ignore[arg-type]
        found = index._lens(tiny_copy, crosscoder, Unfinished(tiny_copy), side)  # type: ignore[arg-type]
        assert found == expected
        assert found != logit_lens.logit_lens(loaded, side, ids, vectors, tokens)  # type: ignore[arg-type]
