"""One or several numbers an image."""

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, R2Score

from vitlab.data.source import Batch
from vitlab.objectives.chosen_metrics import ChosenMetrics
from vitlab.objectives.examiner import Exam, Examiner
from vitlab.objectives.metrics import Kind
from vitlab.objectives.objective import Outcome
from vitlab.objectives.wording import Answer
from vitlab.shapes import Numbers, Outputs


class ShareExplained(R2Score):
    """R²; of less than two images it has no value, where torchmetrics raises."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.tensor(torch.nan)


OF_NUMBERS: dict[str, Kind] = {
    "mae": Kind(lambda count: MeanAbsoluteError(), least_classes=1),
    "rmse": Kind(lambda count: MeanSquaredError(squared=False), least_classes=1),
    "mse": Kind(lambda count: MeanSquaredError(), least_classes=1),
    "r2": Kind(lambda count: ShareExplained(multioutput="uniform_average"), least_classes=1),
}
"""By the name under which they are logged, over all numbers in the units of the data."""


class ToUnits(nn.Module):
    """Turns standardised numbers into numbers in the units of the data."""

    def __init__(self, mean: Tensor, deviation: Tensor):
        super().__init__()
        self.mean, self.deviation = nn.Buffer(mean), nn.Buffer(deviation)

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs * self.deviation + self.mean


class Regression(ChosenMetrics):
    """`num_outputs` numbers an image, by squared error (`loss="mse"`), absolute error (`l1`) or Huber's loss
    (`huber`: absolute from `huber_delta` on).

    The loss is taken of standardised numbers: mean and deviation are those of the training split, kept in
    checkpoints. All else, answers and metrics too, is in the units of the data.
    """

    targets = "numbers"
    pictures = ("scatter",)
    catalogue = OF_NUMBERS
    takes_mixed_labels = True  # numbers are mixed as pixels are

    def __init__(
        self,
        num_outputs: int,
        monitor: str,
        mode: Literal["min", "max"],
        metrics: Sequence[str] = ("mae", "rmse", "r2"),
        loss: Literal["mse", "l1", "huber"] = "mse",
        huber_delta: float = 1.0,
    ):
        super().__init__(num_outputs, monitor, mode, metrics)
        if not 0.0 < huber_delta < math.inf:
            raise ValueError(f"objective.huber_delta={huber_delta} must be above 0; 1.0 would work")
        self.kind, self.huber_delta = loss, huber_delta
        self._members: list[tuple[Tensor, Tensor]] = []
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(num_outputs), persistent=False)
        self.register_buffer("deviation", torch.ones(num_outputs), persistent=False)

    def see_training_labels(self, labels: Numbers) -> None:
        """Takes mean and deviation of each number. Raises ValueError for one that never changes."""
        deviation, mean = torch.std_mean(labels.double(), dim=0, correction=0)
        if not bool((deviation > 0).all()):
            place = int((deviation <= 0).nonzero()[0])
            raise ValueError(
                f"data.label_column: number {place + 1} is {float(mean[place]):g} for all training images,"
                " and there is nothing to learn; leave it out"
            )
        self.mean, self.deviation = mean.float(), deviation.float()

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        said = self.outputs(model, batch.images).float()
        mean, deviation = (each.to(said.device) for each in (self.mean, self.deviation))
        right = (batch.labels - mean) / deviation
        if self.kind == "huber":
            loss = F.huber_loss(said, right, delta=self.huber_delta)
        else:
            loss = (F.mse_loss if self.kind == "mse" else F.l1_loss)(said, right)
        return Outcome(loss, said)

    def numbers(self, outputs: Outputs) -> Numbers:
        """Returns outputs in the units of the data."""
        return outputs.float() * self.deviation.to(outputs.device) + self.mean.to(outputs.device)

    @torch.no_grad()
    def exported(self, model: nn.Module) -> nn.Module:
        """Returns a model of the numbers themselves. Its last layer takes up mean and deviation; where it has
        no linear `head`, they follow the model."""
        model = copy.deepcopy(model)
        last = getattr(model, "head", None)
        if isinstance(last, nn.Linear) and last.bias is not None:
            last.weight.mul_(self.deviation[:, None])
            last.bias.mul_(self.deviation).add_(self.mean)
            return model
        return nn.Sequential(model, ToUnits(self.mean, self.deviation)).eval()

    def measure(self, metric: Metric, outcome: Outcome, batch: Batch) -> None:
        metric.update(self.numbers(outcome.outputs), batch.labels)

    def learned(self) -> dict[str, Any]:
        """Returns mean and deviation of the training split's numbers."""
        return {"mean": self.mean.cpu(), "deviation": self.deviation.cpu()}

    def take_up(self, learned: Any) -> None:
        """Takes up mean and deviation; later answers follow them."""
        for name in ("mean", "deviation"):
            value = (learned or {}).get(name)
            if not isinstance(value, Tensor) or value.dtype != torch.float32:
                raise ValueError(f"objective.{name}")
            if value.shape != (self.num_outputs,) or not bool(value.isfinite().all()):
                raise ValueError(f"objective.{name}")
            if name == "deviation" and not bool((value > 0).all()):
                raise ValueError("objective.deviation")
            setattr(self, name, value)

    def take_up_together(self, learned: Sequence[Any]) -> str:
        """Takes up the middle of their means and deviations; `averaged` goes by each one's own."""
        self._members = []
        for each in learned:
            self.take_up(each)
            self._members.append((self.mean, self.deviation))
        self.mean, self.deviation = (
            torch.stack(each).mean(dim=0) for each in zip(*self._members, strict=True)
        )
        return ""

    def averaged(self, outputs: Tensor) -> Tensor:
        """Returns the mean of the numbers, of members that may have been standardised each in its own way."""
        views = len(outputs) // len(self._members)
        means, deviations = (
            torch.stack(each).repeat_interleave(views, dim=0)[:, None].to(outputs.device)
            for each in zip(*self._members, strict=True)
        )
        numbers = (outputs.float() * deviations + means).mean(dim=0)
        return (numbers - self.mean.to(outputs.device)) / self.deviation.to(outputs.device)

    def examiner(self, exam: Exam) -> Examiner:
        """Returns what collects each number's errors and draws what was said against what is true."""
        from vitlab.objectives.number_examiner import NumberExaminer

        return NumberExaminer(exam.class_names, self.numbers)

    def answers(self, outputs: Outputs, class_names: Sequence[str], top_k: int) -> list[Answer]:
        """Returns all numbers of each row with their names."""
        return [list(zip(class_names, row, strict=True)) for row in self.numbers(outputs).tolist()]

    def columns(self, class_names: Sequence[str], top_k: int) -> list[str]:
        """Returns the names of the numbers."""
        return list(class_names)

    def cells(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[str]:
        return [f"{value:.6g}" for _, value in answer]

    def told(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[tuple[str, str]]:
        return [(name, f"{value:.6g}") for name, value in answer]
