"""HTML to PNG and PDF without a browser, with fonts that come with the product.

Nothing is taken from the machine or from the network: the renderer is handed the fonts
of three packages and is refused everything else.
"""

from __future__ import annotations

import io
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import plutoprint

WIDTH = 900
"""Width of every document, in CSS pixels."""
PIXEL_RATIO = 2
"""Pixels of a PNG per CSS pixel."""

_PX = plutoprint.UNITS_PX
_SCHEME = "dfc-font:"


def to_png(html: str) -> bytes:
    """A PNG, WIDTH × PIXEL_RATIO pixels wide and as high as the content."""
    stream = io.BytesIO()
    _book(html).write_to_png_stream(stream, width=WIDTH * PIXEL_RATIO)
    return stream.getvalue()


def to_pdf(html: str, title: str) -> bytes:
    """A PDF of one page of the same size as the content, with text that can be selected and searched."""
    height = _book(html).get_document_height()
    book = _book(html, height + 1)  # half a pixel of rounding must not open a second page
    book.set_metadata(plutoprint.PDF_METADATA_TITLE, title)
    stream = io.BytesIO()
    book.write_to_pdf_stream(stream)
    return stream.getvalue()


@cache
def fonts() -> dict[str, Traversable]:
    """Font files by family, in the order in which they are asked for a glyph.

    Inter for Latin, Greek and Cyrillic; Noto for Chinese, emoji, symbols and other scripts.
    """
    noto = [file for file in resources.files("manimgx_fonts").iterdir() if file.name.endswith("[wght].ttf")]
    others = sorted((file for file in noto if "Italic" not in file.name), key=lambda file: len(file.name))
    return {
        "Inter": resources.files("fontpkg_inter") / "files" / "Inter[opsz,wght].ttf",
        "Noto Sans SC": resources.files("pylopdf_fonts_zh_cn") / "NotoSansSC-Regular.otf",
        **{file.name.removesuffix("[wght].ttf").replace("Noto", "Noto "): file for file in others},
    }


def font_stack() -> str:
    """The value of `font-family` in every document: the packaged fonts, then what a browser has of its own."""
    return ",".join([*(f"'{family}'" for family in fonts()), "system-ui", "sans-serif"])


class _PackagedFonts(plutoprint.ResourceFetcher):
    def fetch_url(self, url: str) -> plutoprint.ResourceData:
        if not url.startswith(_SCHEME):
            raise PermissionError(f"a document may not load {url:.80}")
        return _font(url.removeprefix(_SCHEME))


@cache
def _font(family: str) -> plutoprint.ResourceData:
    return plutoprint.ResourceData(fonts()[family.replace("%20", " ")].read_bytes(), mime_type="font/ttf")


def _book(html: str, height: float = 1.0) -> plutoprint.Book:
    """A loaded document on pages of `height` CSS pixels; a PNG spans all pages."""
    size = plutoprint.PageSize(WIDTH * _PX, height * _PX)
    book = plutoprint.Book(size, plutoprint.PAGE_MARGINS_NONE, plutoprint.MEDIA_TYPE_SCREEN)
    book.custom_resource_fetcher = _PackagedFonts()
    faces = (f"@font-face{{font-family:'{family}';src:url('{_SCHEME}{family}')}}" for family in fonts())
    book.load_html(html, user_style="".join(faces))
    return book
