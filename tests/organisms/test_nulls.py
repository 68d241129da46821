"""Two seeds of a small planted model, and a generic fine-tune: judged as any pair, beside a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc import runs
from dfc.organisms import nulls, pair, setting
from dfc.organisms.result import Null
from dfc.store.reader import Store
from tests.organisms import small
from tests.worlds.test_planted import SMALL


def check(null: Null, made: str, real: str) -> None:
    mine, others = (len(Store(runs.find(name).store).findings()) for name in (made, real))
    assert null.found == {str(first): min(first, mine) for first in nulls.FIRST}
    assert null.real == {str(first): min(first, others) for first in nulls.FIRST}
    assert null.tested == Store(runs.find(made).store).tested()
    assert 0 <= null.passing <= null.tested
    assert 0 <= null.nominal <= 1
    assert null.passing >= mine


@pytest.mark.slow
def test_two_seeds_of_a_planted_model(data: Path) -> None:
    check(nulls.twins(SMALL, 5), "planted-5-twins", "planted-5")
    sides = runs.find("planted-5-twins").config().models
    weights = [(Path(side.source) / "model.safetensors").read_bytes() for side in (sides.a, sides.b)]
    tokenizers = [(Path(side.source) / "tokenizer.json").read_bytes() for side in (sides.a, sides.b)]
    assert weights[0] != weights[1]
    assert tokenizers[0] == tokenizers[1]


@pytest.mark.slow
@pytest.mark.usefixtures("small_quirks")
def test_a_generic_fine_tune(data: Path, tiny_models: tuple[Path, Path]) -> None:
    how = small.setting(data / "small", tiny_models)
    begins = pair.common(how)
    real = pair.compared(how, begins, setting.UNTRAINED)
    check(nulls.generic(how, begins, real), "organisms-generic", "organisms-untrained")
    sides = runs.find("organisms-generic").config().models
    assert (Path(sides.a.source).name, sides.b.source) == ("generic", str(tiny_models[0]))
