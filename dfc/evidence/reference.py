"""Reference distributions: what a measure comes to in each population of features, to set a single number against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc.config import PARTITIONS

Numbers = npt.NDArray[np.float64]
LEVELS = np.linspace(0, 1, 101)
Reference = dict[str, dict[str, list[float]]]


def distributions(measures: Mapping[str, Numbers], partitions: npt.NDArray[np.str_], judged: Numbers) -> Reference:
    """Quantiles of every measure over the judged features of each partition, at LEVELS.

    Args:
        measures: values by the measure's name, (features,); what is not finite is left out.
        partitions: of each feature, (features,).
        judged: which features count, (features,) of bool.

    Returns:
        measure → partition → quantiles, in increasing order; partitions in which it has no value are left out.
    """
    reference: Reference = {}
    for name, values in measures.items():
        usable = np.isfinite(values) & judged.astype(bool)
        chosen = {partition: values[usable & (partitions == partition)] for partition in PARTITIONS}
        reference[name] = {
            partition: np.quantile(own, LEVELS).round(6).tolist() for partition, own in chosen.items() if len(own)
        }
    return reference


def table(reference: Reference) -> pa.Table:
    """The table `reference`."""
    rows = [
        {"measure": measure, "population": population, "quantiles": quantiles}
        for measure, populations in reference.items()
        for population, quantiles in populations.items()
    ]
    schema = pa.schema([("measure", pa.string()), ("population", pa.string()), ("quantiles", pa.list_(pa.float32()))])
    return pa.Table.from_pylist(rows, schema=schema)
