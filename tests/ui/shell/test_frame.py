"""What every page has in common: the frame, and what it says where there is nothing to show."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dfc.runs import Run
from dfc.ui.shell import pages
from dfc.ui.shell.text import plain
from tests.ui.folders import (
    make_broken_run,
    make_half_run,
    make_old_run,
    make_run,
)
from tests.ui.pages import FEATURE, NORMS, OVERVIEW, PAGES, ROOT, STEER, TABLE, calm, parameter, text, visit


@pytest.mark.parametrize("page", PAGES)
class TestEveryPage:
    def test_without_runs_says_how_to_make_one(self, page: str, data: Path) -> None:
        test = calm(visit(page))
        assert [code.value for code in test.code] == ["make demo", "python -m dfc run data/presets/….yaml"]

    def test_shows_a_run(self, page: str, finished: Path) -> None:
        test = calm(visit(page, run="demo"))
        assert "SmolLM2-135M-Instruct" in text(test)
        assert "Gemma-3-270m" in text(test)

    def test_without_a_run_in_the_address_takes_the_one_that_is_finished(self, page: str, finished: Path) -> None:
        test = calm(visit(page))
        assert parameter(test, "run") == "demo"

    def test_half_written_run_names_the_stage_and_the_command(self, page: str, data: Path) -> None:
        run = make_half_run(data)
        test = calm(visit(page, run="half"))
        assert "The stage “Dictionary trained” (train) is missing" in text(test)
        assert [code.value for code in test.code] == [f"python -m dfc run {run.path / 'run.yaml'}"]

    def test_unknown_run_lists_those_there_are(self, page: str, finished: Path) -> None:
        test = visit(page, run="nobody")
        assert not test.exception
        assert [error.value for error in test.error] == [
            plain("There is no run called “nobody”; the runs are: demo, half.")
        ]

    def test_broken_store_is_one_sentence_with_the_remedy(self, page: str, data: Path) -> None:
        run = make_broken_run(data)
        test = visit(page, run="broken")
        assert not test.exception
        [error] = test.error
        assert plain(str(run.store)) in error.value
        assert plain(f"python -m dfc index --again {run.path}") in error.value

    def test_older_schema_is_one_sentence_with_the_remedy(self, page: str, data: Path) -> None:
        run = make_old_run(data)
        test = visit(page, run="old")
        assert not test.exception
        [error] = test.error
        assert "schema 0" in error.value
        assert plain(f"python -m dfc index --again {run.path}") in error.value

    def test_broken_settings_are_one_sentence(self, page: str, data: Path) -> None:
        run = make_run(data, "typo", features=20)
        settings = run.path / "run.yaml"
        settings.write_text(settings.read_text().replace("crosscoder:", "croscoder:"))
        test = visit(page, run="typo")
        assert not test.exception
        assert plain("did you mean `crosscoder`?") in test.error[0].value

    @pytest.mark.parametrize("number", [str(2**63), "9" * 5_000])
    def test_no_number_in_the_address_is_too_large(self, page: str, number: str, finished: Path) -> None:
        packed = {"list": f"at={number}&in=a", "edits": f"a_{number}_add_2_all", "region": f"norms~f{number}"}
        counts = dict.fromkeys(("page", "span", "document", "seed", "max_tokens"), number)
        for parameters in ({"feature": number}, {**packed, "feature": "3"}, {**packed, "feature": "3", **counts}):
            test = visit(page, run="demo", **parameters)
            assert not test.exception, test.exception[0].message
            assert not any("--again" in error.value for error in test.error)

    def test_every_link_passes_the_run_on(self, page: str, finished: Path) -> None:
        test = visit(page, run="demo")
        links = [link.proto for link in test.get("page_link") if not link.proto.external]
        assert len(links) >= 5
        assert all("run=demo" in link.query_string for link in links)


@pytest.mark.parametrize(("make", "place"), [(make_half_run, "layer 0.5 of depth"), (make_run, "layer 15")])
def test_a_fraction_of_depth_is_shown_as_the_block_that_was_read(
    make: Callable[[Path], Run], place: str, data: Path
) -> None:
    settings = make(data).path / "run.yaml"
    settings.write_text(settings.read_text().replace("layer: 15", "layer: 0.5"))
    test = calm(visit(OVERVIEW))
    assert f"<small>{place}</small>" in text(test)
    assert "<small>layer 9</small>" in text(test)


def test_pages_load_without_torch() -> None:
    code = f"import sys, {', '.join(f'dfc.ui.{page.room}.page' for page in pages.PAGES)}"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(sorted({{'torch', 'transformers', 'nnsight'}} & set(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_a_page_is_a_room_a_script_and_a_line(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CONTRIBUTING.md says: nothing else is to be changed for it."""
    make_run(data)
    project = tmp_path / "project"
    shutil.copytree(ROOT / "pages", project / "pages")
    shutil.copy(ROOT / "app.py", project)
    room = types.ModuleType("dfc.ui.extra.page")
    room.show = lambda view: st.write(f"extra of {view.run.name}")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dfc.ui.extra", types.ModuleType("dfc.ui.extra"))
    monkeypatch.setitem(sys.modules, "dfc.ui.extra.page", room)
    script = (project / "pages" / "4_Decoder_norms.py").read_text().replace("dfc.ui.norms", "dfc.ui.extra")
    (project / "pages" / "9_Extra.py").write_text(script)
    extra = pages.Page("pages/9_Extra.py", "Extra", ":material/star:", "extra")
    monkeypatch.setattr(pages, "PAGES", (*pages.PAGES, extra))
    test = AppTest.from_file(str(project / "app.py"), default_timeout=120)
    test.switch_page("pages/9_Extra.py")
    test.query_params["run"] = "demo"
    assert "extra of demo" in text(calm(test.run()))
    assert "Extra" in [link.label for link in test.sidebar.get("page_link")]


@pytest.mark.parametrize(
    ("page", "link", "said"),
    [
        (TABLE, {"page": "abc", "alive": "maybe"}, ["page=abc", "alive=maybe"]),
        (TABLE, {"page": "9999"}, ["page=9999"]),
        (FEATURE, {"feature": "3", "list": "garbage"}, ["list=garbage"]),
        (NORMS, {"region": "garbage"}, ["region=garbage"]),
        (STEER, {"feature": "3", "side": "z", "strength": "1e9"}, ["side=z", "strength=1e9"]),
        (STEER, {"seed": "-1", "temperature": "hot", "top_p": "7"}, ["seed=-1", "temperature=hot", "top_p=7"]),
        (STEER, {"feature": "3", "side": "B", "strength": "-2", "max_tokens": "12", "chat": "False"}, []),
    ],
    ids=str,
)
def test_what_an_address_cannot_mean_is_said(page: str, link: dict[str, str], said: list[str], finished: Path) -> None:
    test = calm(visit(page, run="demo", **link))
    assert {toast.value.replace("\\", "") for toast in test.toast} == {
        f"The address asks for “{one}”; there is no such thing here." for one in said
    }
    assert not test.run().toast
