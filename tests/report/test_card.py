import io
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from dfc.config import UserError
from dfc.report import render
from dfc.report.card import (
    feature_card_html,
    feature_card_pdf,
    feature_card_png,
    histogram,
    permalink,
)
from dfc.report.palette import THEMES, Theme
from dfc.report.words import percent
from dfc.store.reader import FeatureQuery, Store

VOID = {"meta", "br", "wbr"}
ALLOWED = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "div",
    "header",
    "section",
    "footer",
    "span",
    "b",
    "i",
    "h1",
}
ALLOWED |= {"h2", "svg", "rect", "text", "br", "wbr"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps what they are and the text outside <style>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def pixels(png: bytes) -> np.ndarray:
    """Rows × columns × RGB."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def ids_of_each_kind(store: Store) -> dict[str, int]:
    rows = store.features(FeatureQuery(alive_only=False, order="feature_id", descending=False, limit=1_000))
    shared = rows[rows["partition"] == "shared"]["feature_id"]
    return {
        "a": 0,
        "hostile": 1,
        "b": int(rows[rows["partition"] == "b"]["feature_id"].iloc[0]),
        "shared": int(shared.iloc[1]),
        "no contexts": int(shared.iloc[0]),
        "dead": int(rows[~rows["alive"]]["feature_id"].iloc[0]),
        "dead shared": int(shared.iloc[-1]),
    }


KINDS = ["a", "hostile", "b", "shared", "no contexts", "dead", "dead shared"]


@pytest.mark.parametrize("kind", KINDS)
def test_html_is_well_formed_and_inert(store: Store, kind: str) -> None:
    page = Page(html := feature_card_html(store, ids_of_each_kind(store)[kind], "<script>run</script>"))
    assert page.tags <= ALLOWED
    assert not {name for name in page.attributes if name.startswith("on")} | page.attributes & {"src", "href"}
    assert not re.search(r"url\(|@import|https?://", html)
    assert "default-src 'none'" in html
    assert "<script>run</script>" in page.text


def test_card_says_what_the_store_says(store: Store) -> None:
    feature = store.feature(0)
    text = Page(feature_card_html(store, 0, "pair")).text
    models = store.models()
    facts = [
        "Feature 0",
        "may act only in model A",
        "it may not act here",
        "Not judged: may act only in model A, by the dictionary's design, which is no evidence.",
        percent(feature.density, 2),
        f"{feature.max:.3g}",
        feature.main_source,
        "2026-11-20",
    ]
    facts += [f"layer {models['layer']['a']} of {models['layers']['a']}", str(models.loc["b", "name"])]
    assert [fact for fact in facts if fact not in text] == []
    assert permalink("pair", 0) in text
    assert "Strongest contexts" in text
    assert "Weaker contexts" in text
    assert "in A's tokens" in text
    assert "in B's tokens" in Page(feature_card_html(store, ids_of_each_kind(store)["b"], "pair")).text


def test_tokens_are_shown_for_models_that_have_a_decoder(store: Store) -> None:
    kinds = ids_of_each_kind(store)
    shown = {kind: Page(feature_card_html(store, kinds[kind], "pair")).text.count("promoted") for kind in kinds}
    assert shown["a"] == shown["b"] == 1
    assert shown["shared"] == 2


def test_a_silent_feature_says_so(store: Store) -> None:
    kinds = ids_of_each_kind(store)
    assert "is dead" in Page(feature_card_html(store, kinds["dead"], "pair")).text
    assert "No context of this feature was kept" in Page(feature_card_html(store, kinds["no contexts"], "pair")).text


def test_unknown_feature_is_refused(store: Store) -> None:
    with pytest.raises(UserError, match="does not exist"):
        feature_card_html(store, 10_000, "pair")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("kind", KINDS)
def test_png_is_cut_to_its_content(store: Store, kind: str, theme: Theme) -> None:
    png = feature_card_png(store, ids_of_each_kind(store)[kind], "pair", theme)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width == render.WIDTH * render.PIXEL_RATIO
    image = pixels(png)
    surface = np.array([int(THEMES[theme].surface[place : place + 2], 16) for place in (1, 3, 5)])
    rows = np.flatnonzero((image != surface).any(axis=(1, 2)))
    assert rows[0] == 0  # the band
    below = height - 1 - rows[-1]
    assert 10 < below / render.PIXEL_RATIO < 40  # a margin below the footer, nothing cut and nothing empty
    sides = image[100:, : 30 * render.PIXEL_RATIO], image[100:, -30 * render.PIXEL_RATIO :]
    assert all((side == surface).all() for side in sides)  # nothing sticks out


def unpacked(pdf: bytes) -> bytes:
    """The PDF's own objects, which lie in compressed streams."""
    streams = re.findall(rb"/ObjStm.*?stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return b"".join(zlib.decompress(stream) for stream in streams)


def test_pdf_is_one_page_of_the_same_size(store: Store) -> None:
    pdf = feature_card_pdf(store, 0, "pair")
    assert pdf.startswith(b"%PDF-")
    objects = unpacked(pdf)
    assert len(re.findall(rb"/Type\s*/Page\b", objects)) == 1
    assert b"Feature 0 of pair" in objects
    width, height = map(float, re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", objects)[0])
    assert width == render.WIDTH * 0.75  # points per CSS pixel
    assert height * render.PIXEL_RATIO / 0.75 == pytest.approx(len(pixels(feature_card_png(store, 0, "pair"))), abs=4)


def ink(text: str) -> np.ndarray:
    """The pixels of a text, cut to what is drawn."""
    style = f"font:40px {render.font_stack()};margin:0;padding:10px;background:#fff;color:#000"
    dark = pixels(render.to_png(f'<!doctype html><body style="{style}">{text}</body>')).min(axis=2) < 128
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    assert len(rows)
    shape: np.ndarray = dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return shape


@pytest.mark.parametrize("text", list("国务龘、日かéЯΩשعไ↵⇥␣·→💻👍"))
def test_glyphs_are_drawn_with_packaged_fonts(text: str) -> None:
    assert not np.array_equal(ink(text), ink("𓀀"))  # hieroglyphs have no glyph here: a box is drawn


def test_chinese_is_drawn_character_by_character() -> None:
    shapes = [ink(character).tobytes() for character in "国务院总理新华社记者"]
    assert len(set(shapes)) == 10


def test_several_threads_draw_the_same_card(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        cards = list(pool.map(lambda _: feature_card_png(store, 0, "pair"), range(8)))
    assert len(set(cards)) == 1


def test_a_document_may_load_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    plain = render.to_png('<body><img width="50" height="50"></body>')
    assert render.to_png('<body><img width="50" height="50" src="file:///etc/hostname"></body>') == plain
    assert "may not load" in capfd.readouterr().err


def test_histogram_spans_what_is_filled() -> None:
    edges = [float(edge) for edge in np.geomspace(0.01, 100, 41)]
    assert histogram([0] * 40, edges) is None
    counts = [0] * 10 + [3, 0, 6, 1] + [0] * 26
    shape = histogram(counts, edges)
    assert shape is not None
    assert [round(height) for _, _, height in shape.bars] == [50, 100, 17]
    assert all(x >= 0 and x + width <= 400 + 1e-6 for x, width, _ in shape.bars)
    assert all(one[0] < other[0] for one, other in pairwise(shape.ticks))
    assert [text for _, text in shape.ticks] == ["0.1", "0.2"]


def test_histogram_of_one_bin_at_the_edge() -> None:
    shape = histogram([5], [1.0, 10.0])
    assert shape is not None
    assert shape.bars == [(0.0, 400.0, 100.0)]
    assert [text for _, text in shape.ticks] == ["1", "2", "5", "10"]
