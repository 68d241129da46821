"""A feature in one model's own residual stream: the direction it writes, and the gauge that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side, UserError, opposite
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.dictionary import Dictionary, columns_of
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.prediction import Prediction
from dfc.machine import disk
from dfc.runs import Run
from dfc.steering import stitch_file
from dfc.store.reader import FeatureRow, Store


@dataclass(frozen=True)
class SteeringVector:
    """A feature's decoder vector in one model's own space, at the feature's largest activation.

    Attributes:
        side, feature_id: whose it is.
        vector: s_max · d_i / scale, column by column, (width,): adding α times this is steering at strength α.
        s_max: the feature's largest activation on the run's texts.
        transfer: held-out R² of the stitch that carried it over from the other model; None: it is this model's own.
    """

    side: Side
    feature_id: int
    vector: Tensor
    s_max: float = 1.0
    transfer: float | None = None


@dataclass(frozen=True)
class Gauge:
    """Reads a feature's activation in one model's stream, as the crosscoder's encoder does.

    An exclusive feature is read exactly, unless it is encoded from what the other model's stream does not predict: that
    stream is not there, and is taken to be what this one predicts of it. A shared feature is encoded from both models,
    too: the other's stream is guessed through the stitch, or, in a run without one, taken to agree, so that the half
    that is there counts twice.

    Attributes:
        weight, bias: activation before the threshold = stream · weight + bias; (width,) and a number.
        least: a smaller activation counts as none.
        limit: at positions with a larger norm (outliers, such as the first token) nothing is read.
        s_max: the feature's largest activation on the run's texts.
        exact: whether nothing had to be assumed.
    """

    weight: Tensor
    bias: float
    least: float
    limit: float
    s_max: float
    exact: bool

    def __call__(self, stream: Tensor) -> Tensor:
        """Activations, (...,), of a stream, (..., width)."""
        x = stream.float()
        activations = (x @ self.weight.to(x.device) + self.bias).relu()
        seen = (activations >= self.least) & (torch.linalg.vector_norm(x, dim=-1) <= self.limit)
        return torch.where(seen, activations, 0.0)


def steering_vector(run: Run, feature_id: int, side: Side) -> SteeringVector:
    """The vector x' = x + α · s_max · d_i / scale adds to a model's stream (arXiv 2602.11729, steering).

    A feature that is exclusive to the other model is carried over by the stitch's linear part.

    Raises:
        UserError: if the run has no such feature, it never fires, or it would have to be carried and there is no
            stitch.
    """
    piece = _read(run, feature_id)
    feature, part = piece.feature, piece.part
    if feature.max <= 0:
        raise UserError(f"feature {feature_id} is dead: it never fires on this run's texts; choose one that is alive.")
    transfer = None
    if side in part.sides:
        vector = part.decoder.detach()[0, part.of_side(side)]
    else:
        carrier = stitch_file.load(run, part.sides[0])
        vector, transfer = carrier.matrix @ part.decoder.detach()[0], carrier.r2
    own_scale = piece.scale[columns_of(side, part.widths)]
    return SteeringVector(side, feature_id, feature.max * vector / own_scale, feature.max, transfer)


def random_like(vector: Tensor, seed: int, among: Tensor | None = None) -> Tensor:
    """A random direction as long as a vector, the same one for each seed.

    Args:
        vector: (width,).
        seed: of the draw.
        among: vectors of which it is a random sum, (vectors, width); None: all directions are as likely.
    """
    count = len(vector) if among is None else len(among)
    drawn = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    drawn = drawn if among is None else drawn @ among
    return _as_long(drawn, vector)


def random_pairs(run: Run, feature_id: int, crosscoder: Crosscoder) -> Callable[[int], dict[Side, SteeringVector]]:
    """What draws random directions in the place of an exclusive feature's vectors, in both models, by a seed.

    In the feature's own model it is a random sum of that model's decoder vectors, in the other what the stitch makes of
    that sum; in each as long as the feature's own vector and the one that is carried over.

    Raises:
        UserError: if the feature does not exist, is dead or shared, or there is no stitch.
    """
    vectors = {side: steering_vector(run, feature_id, side) for side in SIDES}
    [own] = [side for side in SIDES if vectors[side].transfer is None]
    matrix, among = stitch_file.load(run, own).matrix, crosscoder.decoder_vectors(own)[1]

    def drawn(seed: int) -> dict[Side, SteeringVector]:
        direction = random_like(among[0], seed, among)
        scaled = {side: direction if side == own else matrix @ direction for side in SIDES}
        return {
            side: replace(
                vectors[side],
                vector=_as_long(
                    scaled[side] / crosscoder.scale[columns_of(side, crosscoder.widths)],
                    vectors[side].vector,
                ),
            )
            for side in SIDES
        }

    return drawn


def _as_long(vector: Tensor, other: Tensor) -> Tensor:
    return vector * (other.norm() / vector.norm())


def gauge(run: Run, feature_id: int, side: Side) -> Gauge:
    """What reads a feature in a model's own, unscaled stream.

    Raises:
        UserError: if the run has no such feature, or it cannot be read in this model.
    """
    piece = _read(run, feature_id)
    part = piece.part
    if side not in part.sides:
        owner = part.sides[0].upper()
        raise UserError(
            f"feature {feature_id} is exclusive to model {owner} and cannot be read in model {side.upper()}: there it "
            f"can only be added (mode add), carried over by the stitch."
        )
    weight, offset = _live_encoder(run, piece, side)
    rank = part.rank_weight(piece.rank_by)
    threshold = float(part.threshold)
    return Gauge(
        weight=part.gain * weight * piece.scale[columns_of(side, part.widths)],
        bias=float(part.bias.detach()[0] + part.gain * offset),
        least=threshold if rank is None else threshold / max(float(rank[0]), torch.finfo(torch.float32).tiny),
        limit=ActivationStore(run.activations).manifest.side(side).norm_limit,
        s_max=piece.feature.max,
        exact=part.partition != "shared" and piece.prediction is None,
    )


def _live_encoder(run: Run, piece: _Piece, side: Side) -> tuple[Tensor, Tensor]:
    """What a feature is encoded with where one model alone is there: (width,), and what is added to the product.

    The product is with the model's scaled stream.
    """
    part = piece.part
    here = part.encoder.detach()[0, part.of_side(side)]
    centre = piece.decoder_bias[part.columns][part.of_side(side)]
    if len(part.sides) == 1:
        weight, offset = (here, here.new_zeros(())) if piece.prediction is None else piece.prediction.alone(here, side)
        return weight, offset - here @ centre
    if run.stitch.exists():
        other = opposite(side)
        here = here + part.encoder.detach()[0, part.of_side(other)] @ stitch_file.load(run, side).matrix
    else:
        here = 2 * here
    return here, -(here @ centre)


@dataclass(frozen=True)
class _Piece:
    """One feature of a crosscoder, and what it takes to read it.

    Attributes:
        feature: what the store holds of it.
        part: a dictionary of it alone.
        scale, decoder_bias: of each column, (width_a + width_b,).
        prediction: of the streams, where the feature is encoded from what it leaves.
        rank_by: what BatchTopK ranked.
    """

    feature: FeatureRow
    part: Dictionary
    scale: Tensor
    decoder_bias: Tensor
    prediction: Prediction | None
    rank_by: str


def _read(run: Run, feature_id: int) -> _Piece:
    """One feature; no other row of the weights is read."""
    feature = Store(run.store).feature(feature_id)
    weights = run.crosscoder / "model.safetensors"
    remedy = f"train it with `python -m dfc train {run.path}`"
    config, widths = crosscoder_model.read_settings(run.crosscoder, remedy)
    with torch.device("meta"):  # sizes alone
        sizes = Crosscoder(config, widths)
        [whole] = (p for p in sizes.parts if p.first_id <= feature_id < p.first_id + len(p))
    own = slice(feature_id - whole.first_id, feature_id - whole.first_id + 1)
    part = Dictionary(whole.name, whole.size, own, feature_id, config, widths)
    with disk.reading(weights, remedy, SafetensorError), safe_open(weights, framework="pt") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        crosscoder_model.check_weights(run.crosscoder, crosscoder_model.shapes_of(sizes.state_dict()), shapes)
        prefix = f"dictionaries.{whole.name}"
        rows = {name: file.get_slice(f"{prefix}.{name}")[own] for name in ("encoder", "bias", "decoder_weight")}
        part.load_state_dict({**rows, "threshold": file.get_tensor(f"{prefix}.threshold")})
        scale = crosscoder_model.column_scale(file.get_tensor("scale"), widths)
        prediction = None
        if part.reads != part.columns:
            prediction = Prediction(widths)
            prediction.load_state_dict(
                {name: file.get_tensor(f"prediction.{name}") for name in prediction.state_dict()}
            )
        return _Piece(feature, part, scale, file.get_tensor("decoder_bias"), prediction, config.rank_by)
