"""dfc: a model-diffing workbench built on Dedicated Feature Crosscoders.

The names below are what a program needs that uses it as a library; each is imported when it is first asked for, so
that `import dfc` costs nothing.

    import dfc

    run = dfc.find_run("demo")
    store = dfc.Store(run.store)
    table = store.features(dfc.FeatureQuery(partitions=("b",), order="confidence"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfc.activations.loader import kept_rows
    from dfc.activations.shards import ActivationStore
    from dfc.alignment import align, tokenize
    from dfc.config import ModelConfig, RunConfig, UserError
    from dfc.config import load as load_config
    from dfc.crosscoder.model import Crosscoder
    from dfc.crosscoder.model import load as load_crosscoder
    from dfc.models import load as load_model
    from dfc.pipeline import run_stages, verify
    from dfc.report.card import feature_card_pdf, feature_card_png
    from dfc.requests import Edit, Prompt, Sampling
    from dfc.runs import Run
    from dfc.runs import create as create_run
    from dfc.runs import find as find_run
    from dfc.steering.edits import program
    from dfc.steering.generation import generate
    from dfc.store.reader import FeatureQuery, Store

__version__ = "0.1.0"
_PLACES = {
    "ActivationStore": "activations.shards.ActivationStore",
    "Crosscoder": "crosscoder.model.Crosscoder",
    "Edit": "requests.Edit",
    "FeatureQuery": "store.reader.FeatureQuery",
    "ModelConfig": "config.ModelConfig",
    "Prompt": "requests.Prompt",
    "Run": "runs.Run",
    "RunConfig": "config.RunConfig",
    "Sampling": "requests.Sampling",
    "Store": "store.reader.Store",
    "UserError": "config.UserError",
    "align": "alignment.align",
    "create_run": "runs.create",
    "feature_card_pdf": "report.card.feature_card_pdf",
    "feature_card_png": "report.card.feature_card_png",
    "find_run": "runs.find",
    "generate": "steering.generation.generate",
    "kept_rows": "activations.loader.kept_rows",
    "load_config": "config.load",
    "load_crosscoder": "crosscoder.model.load",
    "load_model": "models.load",
    "program": "steering.edits.program",
    "run_stages": "pipeline.run_stages",
    "tokenize": "alignment.tokenize",
    "verify": "pipeline.verify",
}
__all__ = [
    "ActivationStore",
    "Crosscoder",
    "Edit",
    "FeatureQuery",
    "ModelConfig",
    "Prompt",
    "Run",
    "RunConfig",
    "Sampling",
    "Store",
    "UserError",
    "align",
    "create_run",
    "feature_card_pdf",
    "feature_card_png",
    "find_run",
    "generate",
    "kept_rows",
    "load_config",
    "load_crosscoder",
    "load_model",
    "program",
    "run_stages",
    "tokenize",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), attribute)
