"""Objectives whose metrics are chosen by name from a catalogue."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torchmetrics import Metric

from vitlab.objectives.metrics import Kind, chosen_metrics
from vitlab.objectives.objective import Objective


class ChosenMetrics(Objective):
    """Measures the `metrics` that a config names. The first one is the headline, after `monitor` where that
    is one of them. Raises ValueError for a name that the catalogue does not hold."""

    catalogue: ClassVar[Mapping[str, Kind]]
    """The metrics that there are, by the name under which they are logged."""

    def __init__(self, num_outputs: int, monitor: str, mode: Literal["min", "max"], metrics: Sequence[str]):
        super().__init__(num_outputs, monitor, mode)
        self.choices = tuple(self.catalogue)
        self.shares = tuple(name for name, kind in self.catalogue.items() if kind.is_share)
        self.metric_names = tuple(chosen_metrics(metrics, self.catalogue, num_outputs))
        watched = monitor.removeprefix("val/")
        first = [watched] if watched in self.metric_names else []
        self.headline = tuple(dict.fromkeys([*first, *self.metric_names[:1]]))

    def metrics(self) -> dict[str, Metric]:
        """Returns the chosen metrics; those that need more outputs than there are, are left out."""
        return chosen_metrics(self.metric_names, self.catalogue, self.num_outputs)
