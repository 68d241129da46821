"""What the null run of a run came to, as the app reads it: without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from dfc.machine import disk
from dfc.runs import Run


@dataclass(frozen=True)
class NullResult:
    """What the null run of a run came to.

    Attributes:
        dedicated: features that only one copy may use.
        exclusive: of these, the ones that the evidence calls exclusive; all of them falsely.
        verdicts: features of each verdict in each partition.
        reference: distribution of every measure, as `Store.reference` gives a run's own.
    """

    dedicated: int
    exclusive: int
    verdicts: dict[str, dict[str, int]]
    reference: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the dedicated features, those called exclusive."""
        return self.exclusive / max(self.dedicated, 1)


def read(run: Run) -> NullResult | None:
    """The result of a run's null run; None if it had none.

    Raises:
        UserError: if the file is damaged.
    """
    path = run.null_result
    if not path.exists():
        return None
    with disk.reading(path, f"make it again with `python -m dfc null {run.path}`"):
        return NullResult(**disk.read_json(path))
