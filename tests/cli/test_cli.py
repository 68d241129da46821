"""The command line as a user meets it, each command in a process of its own; those that load little load it anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import duckdb
import pytest
import yaml

from dfc.config import characters
from dfc.store import attached
from dfc.store.notes import Notebook
from dfc.store.reader import Store
from tests import tiny
from tests.processes import dfc, fresh
from tests.screen.test_themes import mean
from tests.ui.folders import FOUND, find, make_run


@pytest.mark.slow
def test_a_run_from_its_yaml_and_again(tiny_models: tuple[Path, Path], tmp_path: Path, data: Path) -> None:
    settings = tmp_path / "tiny.yaml"
    settings.write_text(yaml.safe_dump(tiny.tiny_settings(tmp_path / "texts", tiny_models)))
    first = dfc("run", str(settings))
    assert first.returncode == 0, first.stderr
    for stage in (
        "pairing tokens",
        "reading tiny-llama",
        "reading tiny-gemma",
        "training",
        "encoding",
        "features: contexts",
    ):
        assert stage in first.stderr
    store = data / "runs" / "tiny" / "features.duckdb"
    written = store.stat().st_mtime_ns

    second = dfc("run", str(settings))
    assert second.returncode == 0
    assert second.stderr.count("done already") == 5
    assert store.stat().st_mtime_ns == written

    verified = dfc("verify", "tiny")
    assert verified.returncode == 0, verified.stderr
    for words in ("evidence: moments", "evidence: probes", "stitch, held-out R²: a_to_b", "shared-like"):
        assert words in verified.stderr
    assert Store(store).evidence(0) is not None

    again = dfc("index", "tiny", "--again")
    assert again.returncode == 0, again.stderr
    assert store.stat().st_mtime_ns > written
    assert Store(store).evidence(0) is not None, "the features are the same, and so their evidence holds"
    assert "tiny          ready" in dfc("doctor").stdout


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"training": {"stepz": 1}}, "unknown key `training.stepz`"),
        ({"models": {"a": {"source": "nowhere/at-all", "layer": 1}}}, "nowhere/at-all: its model could not be loaded"),
        ({"models": {"a": {"source": "gone.gguf", "layer": 1}}}, "gone.gguf: no such GGUF file"),
        ({"models": {"a": {"layer": 99}}}, "there is no layer 99; its 6 blocks are 0 to 5"),
        ({"corpus": {"sources": [{"name": "s", "path": "./none.jsonl"}]}}, "./none.jsonl: no such file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    change: dict[str, dict[str, object]], sentence: str, tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models)
    for section, values in change.items():
        for key, value in values.items():
            merge = isinstance(value, dict) and isinstance(settings[section].get(key), dict)
            settings[section][key] = {**settings[section][key], **value} if merge else value  # type: ignore[dict-item]
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    result = dfc("run", str(path))
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("dfc: ")]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "none"),
        ("harvest", "none"),
        ("index", "none"),
        ("verify", "none"),
        ("run", "none.yaml"),
        ("align", "none", "--report"),
    ],
)
def test_what_is_not_there(arguments: tuple[str, ...]) -> None:
    result = fresh("-m", "dfc", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(f"dfc: {arguments[1]}: ")


def test_pairing_is_shown_without_a_run(tiny_models: tuple[Path, Path], tmp_path: Path, data: Path) -> None:
    settings = tmp_path / "tiny.yaml"
    settings.write_text(yaml.safe_dump(tiny.tiny_settings(tmp_path / "texts", tiny_models)))
    result = dfc("align", str(settings), "--report", "--documents", "62", "--text", "the river")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["source", "english", "chinese", "code", "chats", "total"]
    assert lines[5].split()[1:3] == ["62", "0"]
    assert "' river' | " in result.stdout
    assert not data.exists()

    neither = dfc("align", str(settings))
    assert neither.returncode == 2
    assert neither.stderr.startswith("dfc: align: give --report ")


def test_doctor_says_what_is_missing() -> None:
    printed = fresh("-m", "dfc", "doctor").stdout
    for word in ("torch", "cores", "memory", "disk free", "a finished run: `make demo` makes one"):
        assert word in printed


def test_a_report_of_a_list(data: Path) -> None:
    run = make_run(data)
    notebook = Notebook(data / "notes.duckdb")
    notebook.mark("demo", Store(run.store).fingerprints([3, 60]), "list", "for the paper")
    out = data / "report.html"
    written = dfc("report", "demo", "--list", "for the paper", "--out", str(out))
    assert written.returncode == 0, written.stderr
    assert "2 features of demo" in written.stderr
    assert "<h1>for the paper</h1>" in out.read_text()
    alone = dfc("report", "demo", "--feature", "3", "--title", "One", "--out", str(out))
    assert alone.returncode == 0, alone.stderr
    assert "<h1>One</h1>" in out.read_text()
    other = ["demo", "--feature", "3", "--out", str(data / "report.pdf")]
    for wrong in (["demo"], ["demo", "--list", "x"], ["demo", "--list", "x", "--feature", "3"], other):
        refused = dfc("report", *wrong)
        assert refused.returncode == 2
        assert refused.stderr.startswith("dfc: ")
    assert "a report is an HTML file" in refused.stderr


def test_findings_are_printed_or_given_as_json(data: Path) -> None:
    run = make_run(data)
    result = dfc("findings", "demo")
    assert (result.returncode, result.stdout.strip()) == (
        0,
        "Not judged yet: python -m dfc verify demo collects the evidence, then reload; Overview shows how far it is if "
        "it runs already.",
    )
    find(run.store)
    result = dfc("findings", "demo", "--first", "2")
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0].startswith("A  SmolLM2-135M-Instruct  12 findings, ")
    assert [line for line in lines if "beyond matched places" in line] == [
        "0.300 ± 0.010 nats a character beyond matched places; held out 0.300 ± 0.020; plainly 0.600 ± 0.030",
        "0.280 ± 0.010 nats a character beyond matched places; held out 0.280 ± 0.020; plainly 0.560 ± 0.030",
        "0.290 ± 0.010 nats a character beyond matched places; held out –; plainly 0.580 ± 0.030",
    ]
    assert lines[-1].startswith("299 features whose firing is spread over 5 documents' worth were tested")
    told = json.loads(dfc("findings", "demo", "--first", "2", "--json").stdout)
    assert [(one["side"], one["rank"], one["feature_id"]) for one in told] == [("a", 1, 150), ("a", 2, 1), ("b", 1, 60)]
    assert told[2]["claim"] == "only B may use it: B expects what follows better than A, by more than in like texts"
    assert all("[" in one["context"] for one in told)


EVIL = "\x1b[31mEVIL\x9b2J\u202e"


@pytest.fixture
def hostile(data: Path) -> Path:
    """The evidence of a run with names that a terminal would obey and a gap that is no number."""
    run = make_run(data)
    with duckdb.connect(str(run.store)) as connection:
        connection.execute("UPDATE models SET name = ?", [EVIL])
        connection.execute("UPDATE features SET main_source = ?", [EVIL])
    find(run.store)
    path = attached.evidence_path(run.store)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE findings SET gap = 'nan' WHERE finding = 1")
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_that_is_printed_is_obeyed_by_a_terminal_or_lacks_in_its_encoding(encoding: str, hostile: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    told = fresh("-m", "dfc", "findings", "demo", env=environment)
    assert told.returncode == 0, told.stderr
    assert not {mark for mark in told.stdout if characters.is_hidden(mark)} - {"\n"}
    shown = characters.shown(EVIL)
    assert (shown if encoding == "utf-8" else shown.encode("ascii", "backslashreplace").decode()) in told.stdout
    listed = fresh("-m", "dfc", "findings", "demo", "--json", env=environment)
    assert listed.returncode == 0, listed.stderr
    assert not {mark for mark in listed.stdout if characters.is_hidden(mark)} - {"\n"}
    assert "NaN" not in listed.stdout
    findings = json.loads(listed.stdout)
    assert [one["gap"] for one in findings if one["finding"] == 1] == [None]
    assert {one["main_source"] for one in findings} == {EVIL}
    assert fresh("-m", "dfc", "--help", env=environment).returncode == 0


def test_findings_are_printed_by_theme_once_it_is_known_what_they_mean(data: Path) -> None:
    run = make_run(data)
    nothing = json.loads(dfc("findings", "demo", "--themes", "--json").stdout)
    assert nothing == {"run": "demo", "themes": [], "in_no_theme": []}
    find(run.store)
    refused = dfc("findings", "demo", "--themes")
    assert refused.returncode == 2
    assert f"`python -m dfc meaning {run.path}` reads it" in refused.stderr
    mean(run.store, without=(160,))
    shown = dfc("findings", "demo", "--themes")
    assert shown.returncode == 0, shown.stderr
    assert "SmolLM2-135M-Instruct's" in shown.stdout
    assert "mean silhouette" in shown.stdout
    assert "1 finding has no context, and no theme." in shown.stdout
    told = json.loads(dfc("findings", "demo", "--themes", "--number", "2", "--json").stdout)
    assert len(told["themes"]) == 2
    ids = [one["feature_id"] for theme in told["themes"] for one in theme["findings"]]
    assert sorted(ids) == sorted(members[0] for _, members in FOUND.values() if members[0] != 160)
    assert [one["feature_id"] for one in told["in_no_theme"]] == [160]
    assert sum(theme["findings_of"]["b"] for theme in told["themes"]) == 1
    assert 0 < told["picture"]["variance_kept"] < 1
    assert "--themes, too" in dfc("findings", "demo", "--number", "2").stderr


def test_a_finding_of_neither_model_is_damage(hostile: Path) -> None:
    with duckdb.connect(str(hostile)) as connection:
        connection.execute("UPDATE findings SET side = 'c' WHERE finding = 1")
    result = dfc("findings", "demo")
    assert result.returncode == 2
    assert "evidence.duckdb: is damaged (a finding of neither model); delete it and run" in result.stderr
    assert "Traceback" not in result.stderr


def test_every_command_that_is_named_anywhere_exists() -> None:
    """In the documentation, and in what the app and the command line say."""
    root = Path(__file__).parents[2]
    files = [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md"), *(root / "dfc").rglob("*.py")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    named = {name for text in texts for name in re.findall(r"python -m dfc ([a-z]+)", text)}
    result = dfc("--help")
    known = set(re.findall(r"^│ ([a-z]+)", result.stdout, re.M))
    assert len(known) > 25
    assert named <= known
