"""What an installed dfc must do, run by its own Python from any folder but the checkout: `make package` calls it.

Everything here comes from the wheel: the command, the pages, presets, prompts, SQL, CSS and templates.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dfc
from dfc.config import shipped

COMMAND = Path(sys.executable).parent / "dfc"


def call(*arguments: str, code: int = 0) -> str:
    """What the command prints, on whichever stream."""
    result = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == code, said
    assert "Traceback" not in said, said
    return said


def main() -> None:
    """Try all of it in an empty folder."""
    assert Path(dfc.__file__).parent / "shipped" == shipped.ROOT, f"{dfc.__file__} is the checkout's, not the wheel's"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        assert f"`{shipped.DEMO}` makes one" in call("doctor")
        assert not Path("data").exists(), "doctor writes nothing"
        assert "no such file" in call("run", "nowhere.yaml", code=2)
        assert "token" in call("align", "--help")
        Path("data").write_text("a file where the folder should be")
        assert "DFC_DATA" in call("demo", "--no-app", code=2)
        Path("data").unlink()
        for name in dfc.__all__:
            assert getattr(dfc, name).__doc__, name
        pages()
    print(f"dfc {dfc.__version__}: the wheel is whole")


def pages() -> None:
    """Every page of the package on an empty data folder."""
    from streamlit.testing.v1 import AppTest

    from dfc.ui.shell import pages as listed

    test = AppTest.from_file(str(shipped.APP), default_timeout=60).run()
    scripts = sorted(shipped.ROOT.glob("pages/*.py"))
    assert {f"pages/{script.name}" for script in scripts} == {page.script for page in listed.PAGES} - {"app.py"}
    for script in (None, *scripts):
        if script is not None:
            test.switch_page(f"pages/{script.name}").run()
        assert not test.exception, (script, test.exception)
        assert test.code[0].value == shipped.DEMO, script


if __name__ == "__main__":
    main()
