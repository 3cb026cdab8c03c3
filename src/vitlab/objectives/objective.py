"""What is learned and how it is judged: all that a run, its checkpoints and its reports need to know of
it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection

from vitlab.data.source import Batch
from vitlab.data.targets import TargetKind
from vitlab.objectives.direction import mode_of
from vitlab.objectives.tally import Count, Tally
from vitlab.objectives.weighted import Weighted
from vitlab.shapes import Loss

LOSS = "loss"
"""The metric that every objective has."""

Answer = list[tuple[str, float]]
"""What a model says of one picture: names with values, the most important first, such as `[("rose", 0.93),
("tulip", 0.05)]`."""


class Outcome(NamedTuple):
    """What a batch came to: the mean loss over its samples, and what the model said of each one."""

    loss: Loss
    outputs: Tensor


@runtime_checkable
class Examiner(Protocol):
    """Collects what a test shows beside its metrics."""

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Takes in a batch."""

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Returns numbers and pictures by name, from all processes; pictures only on the first one."""
        ...


class Objective(nn.Module, ABC):
    """Loss, metrics and words of one kind of task. `loss` is all that a new one must write.

    `num_outputs` is how many numbers the model says of an image; models have it as `num_classes:
    ${objective.num_outputs}`. `monitor` is the metric that chooses the best checkpoint, such as
    `val/accuracy`; `mode` says whether more of it is better (`max`).
    """

    headline: Sequence[str] = ()
    """Metrics that a line about the run says beside the loss, the most telling first: `("accuracy",)`."""

    choices: ClassVar[Sequence[str]] = ()
    """Metrics that `metrics=[...]` may name."""

    shares: ClassVar[Sequence[str]] = ()
    """Metrics that are a share of the images, from 0 to 1: they are said in percent and with their 95 %
    interval."""

    rights: ClassVar[Mapping[str, Count]] = {}
    """Metrics that are the share of the images of which something is true, by what tells that: `{"accuracy":
    is_correct}`. A training interval counts them, and two models are held against each other image by
    image."""

    usual_energies: Tensor = torch.empty(0)
    """Energies of validation images in ascending order, where checkpoints keep them."""

    pictures: ClassVar[Sequence[str]] = ()
    """Pictures that the examiner draws, in the order to look at them: `("mistakes", "confusion")`."""

    targets: ClassVar[TargetKind] = "class"
    """What it needs of the data: one class, several labels, or numbers an image; its YAML says so to the data
    by `data.targets`."""

    activation: ClassVar[Literal["softmax", "sigmoid"]] = "softmax"
    """What makes probabilities of the scores of classes: of one among them, or of each by itself."""

    names_classes: ClassVar[bool] = False
    """Whether outputs are scores of classes, so that a class has a probability and a picture can show what
    speaks for it."""

    takes_mixed_labels: ClassVar[bool] = False
    """Whether `loss` takes the labels of MixUp and CutMix: [batch, classes], each row a share of every
    class."""

    takes_weights: bool = False
    """Whether `loss` weighs the samples by `batch.weights`, where these are not None."""

    takes_features: ClassVar[bool] = False
    """Whether batches may hold kept features [batch, features] in the place of images."""

    def __init__(self, num_outputs: int, monitor: str, mode: Literal["min", "max"]):
        super().__init__()
        if num_outputs < 1:
            raise ValueError(f"objective.num_outputs={num_outputs} must be at least 1")
        if mode not in ("min", "max"):
            raise ValueError(f"objective.mode={mode}: min or max would work")
        self.num_outputs = num_outputs
        self.monitor = monitor
        self.mode: Literal["min", "max"] = mode

    def prepare(self, model: nn.Module) -> None:
        """Says what of the model learns, before there is an optimizer: all of it, unless `requires_grad` is
        set here."""

    def see_training_labels(self, labels: Tensor) -> None:
        """Looks at the labels of the training split, before training begins or goes on."""

    def see_validation(self, outputs: Tensor, labels: Tensor) -> None:
        """Takes in what the model says of a validation batch."""

    def end_validation(self) -> None:
        """Learns what the whole validation tells, such as a temperature, before checkpoints are written."""

    def learned(self) -> dict[str, Any]:
        """Returns as plain data what a checkpoint must keep of it beside the weights and the config."""
        return {}

    def take_up(self, learned: Any) -> None:
        """Takes up what `learned` returned, from a file that may be a stranger's. Raises ValueError with the
        name of a value that it cannot be, such as `objective.temperature`."""

    def set_mode(self, model: nn.Module) -> None:
        """Puts parts of the model into another mode than the run's, each time that the run changes between
        training and evaluation."""

    def outputs(self, model: nn.Module, images: Tensor) -> Tensor:
        """Returns what the model says of each image: [batch, num_outputs]."""
        return model(images)

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        """Returns a training batch's loss and outputs."""

    def evaluate(self, model: nn.Module, batch: Batch) -> Outcome:
        """Returns a validation or test batch's loss and outputs: as in training, unless written anew."""
        return self.loss(model, batch)

    def metrics(self) -> dict[str, Metric]:
        """Returns new metrics by name, beside the loss. They are logged as `val/NAME` and `test/NAME`."""
        return {}

    def measure(self, metric: Metric, outcome: Outcome, batch: Batch) -> None:
        """Lets one of the metrics see a batch."""
        metric.update(outcome.outputs, batch.labels)

    def all_metrics(self, prefix: str) -> MetricCollection:
        """Returns new metrics with the loss among them, under names such as `test/accuracy` for the prefix
        `test/`."""
        return MetricCollection({LOSS: MeanMetric(), **self.metrics()}, compute_groups=False, prefix=prefix)

    def judge(self, model: nn.Module, batch: Batch, metrics: MetricCollection) -> Tensor:
        """Returns what the model says of a validation or test batch, and lets all metrics see it."""
        outcome = self.evaluate(model, batch)
        for name, metric in metrics.items(keep_base=True, copy_state=False):
            if name == LOSS:
                metric.update(outcome.loss, weight=len(outcome.outputs))
            else:
                self.measure(metric, outcome, batch)
        return outcome.outputs

    def undefined_on(self, labels: Tensor) -> list[str]:
        """Returns which metrics have no value on images of these labels, whatever is said of them."""
        outputs = torch.randn(len(labels), self.num_outputs, generator=torch.Generator().manual_seed(0))
        metrics = self.metrics()
        for metric in metrics.values():
            self.measure(metric, Outcome(torch.tensor(0.0), outputs), Batch(outputs, labels, 0))
        return [name for name, metric in metrics.items() if not bool(metric.compute().isfinite())]

    def weighted(self, outputs: Tensor, labels: Tensor) -> dict[str, Callable[[], Weighted]]:
        """Returns metrics by name for images that count several times or not at all, so that `vitlab test`
        is quick to say how sure they are; it measures those that are left out anew for each drawing."""
        return {}

    def per_class(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor] | None:
        """Returns for each class how many images it has and how well it is found, a column each, or None
        where there are no classes."""
        return None

    @property
    def score(self) -> str:
        """The metric by which changed images are judged, and checkpoints are compared first."""
        return self.headline[0] if self.headline else LOSS

    @property
    def score_mode(self) -> Literal["min", "max"]:
        """Whether more of the score is better."""
        return self.mode if self.monitor == f"val/{self.score}" else mode_of(self.score)

    def error_of(self, score: float) -> float:
        """Returns how far a score is from a perfect one: 1 - the score, or where less is better the score."""
        return score if self.score_mode == "min" else 1 - score

    def energy(self, outputs: Tensor) -> Tensor | None:
        """Returns how unlike the training data each image is, by what the model says of it; more is more
        unlike. None where outputs do not tell that."""
        return None

    def take_up_together(self, learned: Sequence[Any]) -> str:
        """Takes up what several checkpoints' `learned` returned, for a model of all of them or of several
        views, and says in a line what becomes of it."""
        return ""

    def told_of_test(self, outputs: Tensor, labels: Tensor) -> list[str]:
        """Returns lines on how far answers to test images can be believed, beside their metrics."""
        return []

    def averaged(self, outputs: Tensor) -> Tensor:
        """Returns what several models, or one of several views, say together: [models, batch, num_outputs]
        becomes [batch, num_outputs]."""
        return outputs.mean(dim=0)

    def tally(self) -> Tally:
        """Returns what a training interval counts: the loss, and what is right."""
        return Tally(self.rights)

    def examiner(
        self,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        num_mistakes: int,
        device: Any,
    ) -> Examiner | None:
        """Returns what collects a test's numbers and pictures beside the metrics, or None where there are
        none."""
        return None

    def answers(self, outputs: Tensor, class_names: Sequence[str], top_k: int) -> list[Answer]:
        """Returns for each row of outputs what `vitlab predict` says of it; here the bare numbers."""
        names = [f"output_{index}" for index in range(outputs.shape[1])][:top_k]
        return [list(zip(names, row, strict=False)) for row in outputs.float().tolist()]

    def columns(self, class_names: Sequence[str], top_k: int) -> list[str]:
        """Returns the names of the columns that predictions.csv has beside the file's."""
        kinds = ("class", "probability") if self.names_classes else ("output", "value")
        return [f"{kind}_{rank}" for rank in range(1, top_k + 1) for kind in kinds]

    def cells(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[str]:
        """Returns what these columns hold of an answer; names are as they are, not yet made harmless."""
        return [text for name, value in answer[:top_k] for text in (name, f"{value:.6f}")]

    def told(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[tuple[str, str]]:
        """Returns what the terminal says of an answer: names with values."""
        style = "6.1%" if self.names_classes else ".6g"
        return [(name, f"{value:{style}}") for name, value in answer[:top_k]]

    def explained(self, answer: Answer, class_names: Sequence[str]) -> list[str | None]:
        """Returns the classes that a picture's pages explain, one each; None: what the model says."""
        return [None]

    def how_sure(self) -> str:
        """Says in a line how probabilities were made what they are; empty where there is nothing to say."""
        return ""

    def set_threshold(self, coverage: float) -> float:
        """Returns how improbable a class may be, 1 - its probability, to belong to a set that holds the right
        one in a share `coverage` of cases. Raises ValueError where nothing tells that."""
        raise ValueError(
            f"coverage={coverage}: the objective {type(self).__name__} has no sets; null would work"
        )

    def told_of_sets(self, coverage: float) -> str:
        """Says how near to `coverage` sets of classes come; empty where there are none."""
        return ""

    def require_classes(self, what: str) -> None:
        """Raises ValueError where outputs are no scores of classes, and `what` needs these."""
        if not self.names_classes:
            raise ValueError(
                f"{what} needs probabilities of classes, and the objective {type(self).__name__} gives none"
            )

    def exported(self, model: nn.Module) -> nn.Module:
        """Returns the model as another library is to have it, its outputs as they are to be read: here the
        model itself. Raises ValueError where outputs have no meaning that an export could tell."""
        self.require_classes("export")
        return model

    def require_weights(self, what: str) -> None:
        """Raises ValueError where the loss does not weigh samples, and `what` asks for it."""
        if not self.takes_weights:
            raise ValueError(
                f"{what}: the loss of {type(self).__name__} weighs no samples; objective=classification or"
                " bce would work, without a criterion of another library"
            )

    def facts(self) -> dict[str, Any]:
        """Returns what a run's record must know, so that lists and reports read it without building
        anything."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "headline": list(self.headline),
            "shares": list(self.shares),
            "pictures": list(self.pictures),
        }
