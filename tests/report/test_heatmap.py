import re
import unicodedata
from html.parser import HTMLParser

from hypothesis import example, given
from hypothesis import strategies as st

from dfc.config import SIDES
from dfc.config.characters import HIDDEN_CATEGORIES
from dfc.report.heatmap import (
    HEATMAP_CSS,
    NEWLINE_COLUMNS,
    UNBROKEN,
    context_html,
    excerpt,
    label,
    token_html,
    visible,
)
from dfc.report.palette import LEVELS
from dfc.store.reader import Context, Store

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</span></div><h1>",
    "&lt;b&gt;&amp;",
    "<!-- -->]]>",
    "\x00",
    "‮evil‬",
    "\ud800",
]
TOKENS = st.lists(
    st.one_of(st.text(max_size=6), st.sampled_from(HOSTILE), st.text("<>&\"'= /\n\t", max_size=8)),
    min_size=1,
    max_size=12,
)


class Reader(HTMLParser):
    """Collects what a browser would make of a heat map."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"declaration: {decl}")


def make_context(tokens: list[str], activations: list[float | None] | None = None, peak: int = 0) -> Context:
    values: list[float | None] = activations if activations is not None else [1.0] * len(tokens)
    return Context(0, 0, 0, 0, "web", 1.0, tokens, tokens, values, values, peak, peak, "text", 0, 0)


@given(TOKENS, st.data())
@example(HOSTILE, None)
def test_no_text_breaks_out(tokens: list[str], data: st.DataObject | None) -> None:
    values = st.lists(st.none() | st.floats(0, 10), min_size=len(tokens), max_size=len(tokens))
    context = make_context(tokens, data.draw(values) if data else None)
    reader = Reader(context_html(context, "a", 10.0, "shared"))
    assert reader.open == []
    assert reader.text == "".join(map(visible, tokens))
    assert {tag for tag, _ in reader.tags} <= {"div", "span", "i", "br", "wbr"}
    assert {name for _, attributes in reader.tags for name in attributes} <= {"class", "title"}
    spans = [attributes for tag, attributes in reader.tags if tag == "span"]
    titles = [str(attributes["title"]).rsplit("  ", 1)[0] for attributes in spans]
    assert titles == [visible(token) for token in tokens]


@given(st.text())
def test_nothing_hidden_remains(text: str) -> None:
    assert not {unicodedata.category(character) for character in visible(text)} & HIDDEN_CATEGORIES
    visible(text).encode("utf-8")


def test_what_stands_for_what() -> None:
    assert visible("") == "·"
    assert visible(" a\n\tb") == " a↵⇥b"
    assert visible("\u202e\u200b\x00\r") == "‹U+202E›‹U+200B›‹U+0000›‹U+000D›"
    assert token_html("\n\n x") == "<i>↵↵</i><br> x"
    assert label("  the ") == "␣␣the "
    assert (label("  "), label(""), label("\n"), label("\u0301")) == ("␣␣", "·", "↵", "◌\u0301")


def test_heat_pairing_and_peak_are_classes() -> None:
    context = make_context(["a", "b", "c", "d"], [None, 0.0, 5.0, 10.0], peak=3)
    html = context_html(context, "b", 10.0, "b")
    classes = [attributes.get("class", "") for tag, attributes in Reader(html).tags]
    assert classes == ["dfc-context dfc-b", "unpaired", "", f"h{LEVELS // 2}", f"h{LEVELS} peak"]
    assert 'title="a  not paired"' in html
    assert 'title="c  5"' in html
    assert 'title="c  5  · user, &lt;b&gt;"' in context_html(context, "b", 10.0, "b", "user, <b>")


def test_between_both_models_the_sign_is_the_colour_and_notes_are_said() -> None:
    context = make_context(["a", "b", "c", "d"], [None, -5.0, 5.0, 0.0], peak=3)
    html = context_html(context, "a", 5.0, "between", notes=["no <figure>", "B does", "A does", ""])
    tags = [attributes for tag, attributes in Reader(html).tags]
    assert [one.get("class", "") for one in tags] == [
        "dfc-context dfc-between", "unpaired", f"b{LEVELS}", f"a{LEVELS}", "peak",
    ]  # fmt: skip
    assert [one.get("title") for one in tags[1:]] == ["a  no <figure>", "b  B does", "c  A does", "d  "]
    noted = context_html(context, "a", 5.0, "a", notes=["left out", "", "too", ""])
    assert [attributes.get("title") for _, attributes in Reader(noted).tags[1:]] == [
        "a  left out", "b  -5", "c  5  · too", "d  0",
    ]  # fmt: skip
    for side in ("a", "b"):
        assert f".dfc-between .{side}{LEVELS}{{background:var(--dfc-{side}-{LEVELS})}}" in HEATMAP_CSS


def test_long_words_may_break() -> None:
    assert token_html("x" * 100).count("<wbr>") == 4
    assert context_html(make_context(["xxxxx"] * 20), "a", 1.0, "a").count("<wbr>") == 3
    assert "<wbr>" not in context_html(make_context([" word"] * 20), "a", 1.0, "a")


@given(TOKENS, st.integers(0, 60), st.integers(0, 60), st.data())
def test_excerpt_keeps_the_peak_and_its_neighbours(
    tokens: list[str], before: int, after: int, data: st.DataObject
) -> None:
    peak = data.draw(st.integers(0, len(tokens) - 1))
    cut = excerpt(make_context(tokens, [float(i) for i in range(len(tokens))], peak), "a", before, after)
    assert cut.activations_a[cut.peak_a] == peak
    first = int(cut.activations_a[0] or 0)
    assert cut.tokens_a == tokens[first : first + len(cut.tokens_a)]
    assert cut.tokens_b == tokens


def test_excerpt_counts_wide_characters_and_lines() -> None:
    assert excerpt(make_context(["国"] * 30, peak=15), "a", 8, 4).tokens_a == ["国"] * (4 + 1 + 2)
    assert len(excerpt(make_context(["\n"] * 30, peak=15), "a", 2 * NEWLINE_COLUMNS, 0).tokens_a) == 3


def test_every_stored_context_is_shown_whole_on_both_sides(store: Store) -> None:
    for feature_id in range(24):
        for context in store.contexts(feature_id):
            texts = {side: Reader(context_html(context, side, context.peak, "a")).text for side in SIDES}
            assert texts["a"] == "".join(map(visible, context.tokens_a))
            # The same characters, whichever tokenizer cut them; only fragments differ.
            assert re.sub("·", "", texts["a"]) == re.sub("·", "", texts["b"])


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=UNBROKEN - 1))
def test_a_short_token_is_shown_alike_alone_and_before_a_line_end(token: str) -> None:
    assert visible(token + "\n") == visible(token) + "↵"
    assert token_html(token + "\n").replace("<wbr>", "") == token_html(token).replace("<wbr>", "") + "<i>↵</i><br>"
