"""What a test shows beside its metrics, and what it is told of the run for that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import nn

from vitlab.data.source import Batch
from vitlab.shapes import Outputs


@dataclass(frozen=True)
class Exam:
    """A test that is about to begin: names of the classes (or labels, or numbers) in the order of the
    outputs, mean and deviation of each shown channel on a scale from 0 to 1, how many mistakes to show at
    most, and the model that is tested, on its device."""

    class_names: tuple[str, ...]
    mean: Sequence[float]
    std: Sequence[float]
    num_mistakes: int
    model: nn.Module


@runtime_checkable
class Examiner(Protocol):
    """Collects what a test shows beside its metrics."""

    def add(self, outputs: Outputs, batch: Batch) -> None:
        """Takes in a batch, its images as the model saw them; of more than three channels those that people
        see."""

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Returns numbers and pictures by name, from all processes; pictures only on the first one."""
        ...
