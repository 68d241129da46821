"""Choices in the address: ids for good, labels of before understood, and whoever goes back sees what was there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

from dfc.ui.shell import choice
from tests.ui.browser import NewPage, open_page, wait_until_idle

ALL = {"by": "mean", "more": None, "set": "own", "in": ["a", "b"]}


def page() -> None:
    import json

    import streamlit as st

    from dfc.ui.shell import choice

    by = {"mean": "on average", "max": "strongest", "rare": "rarest first"}
    parts = {"a": "only A", "b": "only B", "shared": "shared"}
    shown = {
        "by": choice.one_of("By", by, "by"),
        "more": choice.one_or_none_of("More", {"sweep": "Sweep", "table": "Table of edits"}, "more"),
        "set": choice.one_of_many("Set", {"own": "the prompt above", "open": "open"}, "set"),
        "in": choice.several_of("In", parts, "in", ("a", "b")),
    }
    st.button("Rare", key="rare", on_click=choice.put, args=("by", "rare"))
    st.code(json.dumps(shown))


def opened(**parameters: Any) -> AppTest:
    test = AppTest.from_function(page, default_timeout=30)
    test.query_params.update(parameters)
    return ran(test)


def ran(asked: Any) -> AppTest:
    """The page after a click, or as it is drawn again."""
    test: AppTest = asked.run()
    assert not test.exception, test.exception[0].message
    return test


def shown(test: AppTest) -> dict[str, Any]:
    """What the page was told is chosen, if the widgets show the same."""
    found: dict[str, Any] = json.loads(test.code[0].value)
    assert {key: sorted(test.session_state[key] or "") for key in found} == {
        k: sorted(v or "") for k, v in found.items()
    }
    return found


def in_address(test: AppTest) -> dict[str, Any]:
    return {name: value[0] if len(value) == 1 else value for name, value in lists(test.query_params).items()}


def lists(parameters: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else list(value) for name, value in parameters.items()}


def test_at_first_nothing_stands_in_the_address() -> None:
    test = opened()
    assert (shown(test), in_address(test)) == (ALL, {})


@pytest.mark.parametrize(
    ("link", "chosen", "address"),
    [
        ({"by": "max"}, {"by": "max"}, {"by": "max"}),
        ({"by": "rarest first"}, {"by": "rare"}, {"by": "rare"}),
        ({"by": "on average"}, {}, {}),
        ({"by": "mean"}, {}, {}),
        ({"by": "luck"}, {}, {}),
        ({"by": ""}, {}, {}),
        ({"by": ["max", "rare"]}, {"by": "rare"}, {"by": "rare"}),
        ({"more": "Table of edits"}, {"more": "table"}, {"more": "table"}),
        ({"more": "nothing of it"}, {}, {}),
        ({"set": "the prompt above"}, {}, {}),
        ({"set": "open"}, {"set": "open"}, {"set": "open"}),
        ({"in": "shared"}, {"in": ["shared"]}, {"in": "shared"}),
        ({"in": ["shared", "only A"]}, {"in": ["a", "shared"]}, {"in": ["a", "shared"]}),
        ({"in": ["only B", "a"]}, {}, {}),
        ({"in": ["b", "c"]}, {"in": ["b"]}, {"in": "b"}),
        ({"in": "c"}, {}, {}),
        ({"other": "x", "by": "max"}, {"by": "max"}, {"by": "max", "other": "x"}),
    ],
    ids=str,
)
def test_what_an_address_means(link: dict[str, Any], chosen: dict[str, Any], address: dict[str, Any]) -> None:
    test = opened(**link)
    assert (shown(test), in_address(test)) == ({**ALL, **chosen}, address)
    assert (shown(ran(test)), in_address(test)) == ({**ALL, **chosen}, address)


@pytest.mark.parametrize(
    ("link", "asked"),
    [
        ({"by": "luck"}, ["by=luck"]),
        ({"in": ["b", "c", "d"]}, ["in=c", "in=d"]),
        ({"more": "*x* <b>"}, ["more=\\*x\\* \\<b\\>"]),
        ({"by": "rarest first", "in": "", "more": "", "other": "x"}, []),
    ],
    ids=str,
)
def test_what_an_address_cannot_mean_is_said_once(link: dict[str, Any], asked: list[str]) -> None:
    test = opened(**link)
    assert [toast.value.replace("\\=", "=") for toast in test.toast] == [
        f"The address asks for “{one}”; there is no such thing here." for one in asked
    ]
    assert not ran(test).toast


def test_clicks_write_ids_and_nothing_for_the_default() -> None:
    test = opened()
    test.segmented_control(key="by").set_value("max")
    test.segmented_control(key="more").set_value("sweep")
    test.selectbox(key="set").set_value("open")
    test.pills(key="in").set_value(["shared", "a"])
    ran(test)
    chosen = {"by": "max", "more": "sweep", "set": "open", "in": ["a", "shared"]}
    assert (shown(test), in_address(test)) == (chosen, chosen)
    test.segmented_control(key="by").set_value("mean")
    test.segmented_control(key="more").set_value(None)
    test.selectbox(key="set").set_value("own")
    test.pills(key="in").set_value([])
    ran(test)
    assert (shown(test), in_address(test)) == ({**ALL, "in": []}, {"in": ""})
    assert shown(opened(**{"in": ""})) == {**ALL, "in": []}
    ran(test.pills(key="in").set_value(["a", "b"]))
    assert (shown(test), in_address(test)) == (ALL, {})


def test_what_nobody_chose_is_what_is_usual_now() -> None:
    def page() -> None:
        import streamlit as st

        from dfc.ui.shell import choice

        sides = {"a": "A", "b": "B", "both": "both"}
        st.code(choice.one_of("Tokens of", sides, "tokens", "a" if st.query_params["of"] == "a" else "b"))

    def tokens(of: str) -> str:
        test.query_params["of"] = of
        return str(ran(test).code[0].value)

    test = AppTest.from_function(page, default_timeout=30)
    assert [tokens("a"), tokens("b"), tokens("a")] == ["a", "b", "a"]
    test.segmented_control(key="tokens").set_value("both")
    assert [tokens("a"), tokens("b")] == ["both", "both"]


def test_another_address_is_followed() -> None:
    test = opened(by="max")
    test.query_params["by"] = "rare"
    assert shown(ran(test))["by"] == "rare"
    ran(test.segmented_control(key="by").set_value("max"))
    ran(test)  # by now the browser has heard of it
    del test.query_params["by"]
    assert (shown(ran(test)), in_address(test)) == (ALL, {})


def test_a_click_outlives_an_address_that_has_not_heard_of_it() -> None:
    test = opened()
    ran(test.segmented_control(key="by").set_value("max"))
    del test.query_params["by"]  # as a browser sends it that was quick
    assert (shown(ran(test))["by"], in_address(test)) == ("max", {"by": "max"})
    test.query_params.clear()
    ran(test.segmented_control(key="by").set_value("rare"))
    test.query_params["by"] = "max"
    assert (shown(ran(test))["by"], in_address(test)) == ("rare", {"by": "rare"})


def test_a_step_back_is_followed_always(monkeypatch: pytest.MonkeyPatch) -> None:
    test = opened()
    ran(test.segmented_control(key="by").set_value("max"))
    context = choice.get_script_run_ctx

    def back() -> Any:
        found = context()
        assert found is not None
        found.is_history_navigation = True
        return found

    monkeypatch.setattr(choice, "get_script_run_ctx", back)
    test.query_params.clear()
    assert (shown(ran(test)), in_address(test)) == (ALL, {})


def test_an_option_is_chosen_from_elsewhere() -> None:
    test = opened(by="max")
    ran(test.button(key="rare").click())
    assert (shown(test)["by"], in_address(test)) == ("rare", {"by": "rare"})


def test_back_and_forward_in_a_browser(new_page: NewPage, server: str) -> None:
    page = open_page(new_page(), f"{server}/Exclusive_features?run=demo")

    def shows(title: str, query: Callable[[str], bool]) -> None:
        wait_until_idle(page)
        expect(page.get_by_role("radio", name=title, exact=True)).to_have_attribute("aria-checked", "true")
        assert query(page.url), page.url

    page.get_by_role("radio", name="only B").click()
    shows("only B", lambda url: url.endswith("show=b"))
    page.get_by_role("radio", name="shared").click()
    shows("shared", lambda url: url.endswith("show=shared"))
    page.go_back()
    shows("only B", lambda url: url.endswith("show=b"))
    page.go_back()
    shows("side by side", lambda url: "show" not in url)
    page.go_forward()
    shows("only B", lambda url: url.endswith("show=b"))
    page.reload()
    shows("only B", lambda url: url.endswith("show=b"))
    open_page(page, f"{server}/Exclusive_features?run=demo&show=only+A&order=decoder+norm+in+A")
    shows("only A", lambda url: bool(re.search("show=a&order=norm_a$", url)))
    page.go_back()
    shows("only A", lambda url: bool(re.search("show=a", url)))
    page.close()
