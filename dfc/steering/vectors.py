"""A feature as a direction in a model's own residual stream."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dfc.config import Side, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.runs import Run
from dfc.store.reader import Store


@dataclass(frozen=True)
class SteeringVector:
    """A feature's decoder vector in one model's own space, at the feature's largest activation.

    Attributes:
        side, feature_id: whose it is.
        vector: s_max · d_i / scale, (width,): adding α times this is steering at strength α.
    """

    side: Side
    feature_id: int
    vector: Tensor


def steering_vector(run: Run, feature_id: int, side: Side) -> SteeringVector:
    """The vector x' = x + α · s_max · d_i / scale adds to a model's stream (PAPER: steering).

    Raises:
        UserError: if the feature does not act in this model, or never fires.
    """
    feature = Store(run.store).feature(feature_id)
    if feature.partition not in ("shared", side):
        other = run.config().models.side(side).title
        raise UserError(
            f"feature {feature_id} is exclusive to model {feature.partition.upper()}: it has no decoder vector in "
            f"{other}, so it cannot steer it; choose model {feature.partition.upper()}, or a shared feature."
        )
    if feature.max <= 0:
        raise UserError(f"feature {feature_id} is dead: it never fires on this run's texts; choose one that is alive.")
    crosscoder = crosscoder_model.load(run.crosscoder)
    ids, vectors = crosscoder.decoder_vectors(side)
    scale = float(crosscoder.scale[0 if side == "a" else 1])
    [place] = (ids == feature_id).nonzero(as_tuple=True)[0].tolist()
    return SteeringVector(side, feature_id, vectors[place] * (feature.max / scale))
