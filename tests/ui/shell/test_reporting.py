from __future__ import annotations

from dfc.ui.shell.reporting import file_name


def test_a_title_in_any_script_names_a_file() -> None:
    assert file_name("党 & co: “a/b” ../") == "党-co-a-b"
    assert file_name("../..") == "report"
