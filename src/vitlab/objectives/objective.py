"""The seam: what is learned and how it is judged. An objective of one's own is a subclass of `Objective`, and
`loss` is all that it must write."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection

from vitlab.data.source import Batch
from vitlab.objectives.examiner import Exam, Examiner
from vitlab.objectives.tally import Tally
from vitlab.objectives.traits import LOSS
from vitlab.objectives.weighted import Weighted
from vitlab.objectives.wording import Wording
from vitlab.shapes import Loss, OfEachImage, Outputs, Targets

PARTS = "of_objective"
"""Where a model holds what its objective added to it; so these tensors' names begin with `of_objective.`."""


class Outcome(NamedTuple):
    """What a batch came to: the mean loss over its samples, and what the model said of each one."""

    loss: Loss
    outputs: Outputs


class Objective(Wording, nn.Module, ABC):
    """Loss, metrics and words of one kind of task.

    `num_outputs` is how many numbers the model says of an image, at least 1; models have it as `num_classes:
    ${objective.num_outputs}`. `monitor` and `mode` choose the best checkpoint. Raises ValueError for values
    that are none of these.
    """

    usual_energies: Tensor = torch.empty(0)
    """Energies of validation images in ascending order, where checkpoints keep them."""

    def __init__(self, num_outputs: int, monitor: str, mode: Literal["min", "max"]):
        super().__init__()
        if num_outputs < 1:
            raise ValueError(f"objective.num_outputs={num_outputs} must be at least 1")
        if mode not in ("min", "max"):
            raise ValueError(f"objective.mode={mode}: min or max would work")
        self.num_outputs = num_outputs
        self.monitor = monitor
        self.mode: Literal["min", "max"] = mode

    # What learns

    def prepare(self, model: nn.Module) -> None:
        """Says what of the model learns, before there is an optimizer: all of it, unless `requires_grad` is
        set here. Raises ValueError for a model that it cannot train."""

    def parts(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Returns new modules that learn beside the model and that only this objective needs, such as a
        decoder. The model holds them as `model.of_objective["NAME"]`: its checkpoints have them,
        `model.weights` and exports leave them out."""
        return {}

    def add_parts(self, model: nn.Module) -> None:
        """Adds `parts` to a model that lacks them."""
        if not hasattr(model, PARTS) and (parts := self.parts(model)):
            model.add_module(PARTS, nn.ModuleDict(dict(parts)))

    def join(self, model: nn.Module) -> None:
        """Makes a model ready to learn. Raises ValueError where the objective itself holds parameters, which
        no optimizer would see."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                raise ValueError(
                    f"objective: {name} of {type(self).__name__} would never learn: an optimizer sees the"
                    " model alone; what the method `parts` returns becomes part of it"
                )
        self.add_parts(model)
        self.prepare(model)

    def set_mode(self, model: nn.Module) -> None:
        """Puts parts of the model into another mode than the run's, each time that the run changes between
        training and evaluation."""

    def see_training_labels(self, labels: Targets) -> None:
        """Looks at the labels of the training split, before training begins or goes on."""

    def see_validation(self, outputs: Outputs, labels: Targets) -> None:
        """Takes in what the model says of a validation batch."""

    def end_validation(self) -> None:
        """Learns what the whole validation tells, such as a temperature, before checkpoints are written."""

    def learned(self) -> dict[str, Any]:
        """Returns as plain data what a checkpoint must keep of it beside the weights and the config."""
        return {}

    def take_up(self, learned: Any) -> None:
        """Takes up what `learned` returned, from a file that may be a stranger's. Raises ValueError with the
        name of a value that it cannot be, such as `objective.temperature`."""

    def take_up_together(self, learned: Sequence[Any]) -> str:
        """Takes up what several checkpoints' `learned` returned, for a model of all of them or of several
        views, and says in a line what becomes of it. Raises ValueError where they cannot answer together."""
        return ""

    # What a batch comes to

    def outputs(self, model: nn.Module, images: Tensor) -> Outputs:
        """Returns what the model says of each image [batch, channels, height, width], or of kept features
        [batch, features]. Prediction and all tests ask this, never the model itself."""
        return model(images)

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        """Returns a training batch's loss and outputs. What it draws at random from torch's default generator
        follows from the seed and the step."""

    def evaluate(self, model: nn.Module, batch: Batch) -> Outcome:
        """Returns a validation or test batch's loss and outputs: as in training, unless written anew. Nothing
        in it may be random."""
        return self.loss(model, batch)

    def averaged(self, outputs: Tensor) -> Tensor:
        """Returns what several models, or one of several views, say together: [models, batch, num_outputs]
        becomes [batch, num_outputs]."""
        return outputs.mean(dim=0)

    def energy(self, outputs: Outputs) -> OfEachImage | None:
        """Returns how unlike the training data each image is, by what the model says of it; more is more
        unlike. None where outputs do not tell that."""
        return None

    def tally(self) -> Tally:
        """Returns what a training interval counts: the loss, and what is right."""
        return Tally(self.rights)

    # How a split is judged

    def metrics(self) -> dict[str, Metric]:
        """Returns new metrics by name, beside the loss. They are logged as `val/NAME` and `test/NAME`."""
        return {}

    def measure(self, metric: Metric, outcome: Outcome, batch: Batch) -> None:
        """Lets one of the metrics see a batch; it may look at outputs and labels."""
        metric.update(outcome.outputs, batch.labels)

    def all_metrics(self, prefix: str) -> MetricCollection:
        """Returns new metrics with the loss among them, under names such as `test/accuracy` for the prefix
        `test/`."""
        return MetricCollection({LOSS: MeanMetric(), **self.metrics()}, compute_groups=False, prefix=prefix)

    def judge(self, model: nn.Module, batch: Batch, metrics: MetricCollection) -> Outputs:
        """Returns what the model says of a validation or test batch, and lets all metrics see it."""
        outcome = self.evaluate(model, batch)
        for name, metric in metrics.items(keep_base=True, copy_state=False):
            if name == LOSS:
                metric.update(outcome.loss, weight=len(outcome.outputs))
            else:
                self.measure(metric, outcome, batch)
        return outcome.outputs

    def judge_kept(self, outputs: Outputs, labels: Targets, metrics: MetricCollection) -> None:
        """Lets metrics see outputs that were kept; without `loss_from_outputs` the loss
        is none of them. Raises ValueError where that is true and should not be."""
        batch = Batch(outputs, labels, 0)
        if self.loss_from_outputs:
            try:
                self.judge(nn.Identity(), batch, metrics)
            except AttributeError as error:
                if not isinstance(error.obj, nn.Identity):
                    raise
                raise ValueError(
                    f"{type(self).__name__}.evaluate asks the model for more than its outputs ({error});"
                    " loss_from_outputs = False in that class would work"
                ) from error
            return
        for metric in metrics.values(copy_state=False):
            self.measure(metric, Outcome(torch.tensor(torch.nan), outputs), batch)

    def undefined_on(self, labels: Targets) -> list[str]:
        """Returns which metrics have no value on images of these labels, whatever is said of them."""
        outputs = torch.randn(len(labels), self.num_outputs, generator=torch.Generator().manual_seed(0))
        metrics = self.metrics()
        for metric in metrics.values():
            self.measure(metric, Outcome(torch.tensor(0.0), outputs), Batch(outputs, labels, 0))
        return [name for name, metric in metrics.items() if not bool(metric.compute().isfinite())]

    def weighted(self, outputs: Outputs, labels: Targets) -> dict[str, Callable[[], Weighted]]:
        """Returns metrics by name for images that count several times or not at all, so that `vitlab test`
        is quick to say how sure they are; it measures those that are left out anew for each drawing."""
        return {}

    def per_class(self, outputs: Outputs, labels: Targets) -> dict[str, Tensor] | None:
        """Returns for each class how many images it has and how well it is found, a column each, or None
        where there are no classes."""
        return None

    def examiner(self, exam: Exam) -> Examiner | None:
        """Returns what collects a test's numbers and pictures beside the metrics, or None where there are
        none."""
        return None

    def exported(self, model: nn.Module) -> nn.Module:
        """Returns the model as another library is to have it, without `parts`, its outputs as they are to be
        read. It may change the model that it is given. Raises ValueError where outputs have no meaning that
        an export could tell."""
        self.require_classes("export")
        if hasattr(model, PARTS):
            delattr(model, PARTS)
        return model
