"""What a test of several labels an image shows beyond its metrics: each label's numbers, and the most
confident mistakes."""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from vitlab.data.source import Batch
from vitlab.data.targets import named
from vitlab.gathering import of_all_processes
from vitlab.objectives.examiner import Exam
from vitlab.objectives.per_class import per_class
from vitlab.objectives.thresholds import USUAL
from vitlab.objectives.weighted import curves
from vitlab.pictures.drawing import Picture, fit, photograph
from vitlab.pictures.figures import drawn
from vitlab.pictures.labels import per_label_figure
from vitlab.pictures.sheets import Text, gallery
from vitlab.shapes import Logits, ManyLabels
from vitlab.words import plain

MISTAKE_SIDE = 160
"""Pixels of a mistake's longer side, or nearly so."""

TITLE = "The most confident mistakes of the test: a wrong label, all that are true, all that were said"


class Mistake(NamedTuple):
    """A label that an image was said to have and has not, or the other way round: how sure that was, which
    label, both sets of labels, and the picture."""

    surety: float
    label: int
    true: Tensor
    said: Tensor
    picture: Picture


def of_each_label(logits: Logits, labels: ManyLabels, thresholds: Tensor) -> dict[str, Tensor]:
    """Returns the columns of `per_class` for each label at its threshold [labels], with its average precision
    and the threshold itself."""
    probabilities, true = logits.float().sigmoid(), labels == 1
    once = torch.ones(len(true), 1)
    found = curves(probabilities, true)
    precisions = [torch.nan if curve is None else float(curve.average_precision(once)) for curve in found]
    return per_class(probabilities, probabilities >= thresholds, true) | {
        "average_precision": torch.tensor(precisions, dtype=torch.float64),
        "threshold": thresholds,
    }


class LabelExaminer:
    """Gives `average_precision_of/LABEL` and `f1_of/LABEL` of every label that some image has, and the means
    at the fitted thresholds as `f1_macro_tuned`, `f1_micro_tuned`, `exact_match_tuned`; draws `per_label` and
    `mistakes`."""

    def __init__(self, exam: Exam, thresholds: Tensor | None = None):
        self.exam = exam
        self.is_tuned = thresholds is not None
        self.thresholds = torch.full((len(exam.class_names),), USUAL) if thresholds is None else thresholds
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.mistakes: list[Mistake] = []

    def add(self, outputs: Tensor, batch: Batch) -> None:
        probabilities, true = outputs.float().sigmoid().cpu(), batch.labels.cpu()
        self.seen.append((outputs.float().cpu(), true))
        said = probabilities >= self.thresholds
        surety = torch.where(said, probabilities, 1 - probabilities) * (said != (true == 1))
        worst, label = surety.max(dim=1)
        for index in worst.argsort(descending=True)[: self.exam.num_mistakes].tolist():
            if worst[index] > 0:
                picture = photograph(batch.images[index].float(), self.exam.mean, self.exam.std)
                which = int(label[index])
                self.mistakes.append(
                    Mistake(float(worst[index]), which, true[index], said[index].to(true.dtype), picture)
                )
        self.mistakes = self._worst(self.mistakes)

    def _worst(self, mistakes: list[Mistake]) -> list[Mistake]:
        return sorted(mistakes, key=lambda mistake: -mistake.surety)[: self.exam.num_mistakes]

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        seen = [pair for each in of_all_processes(self.seen) for pair in each]
        mistakes = [mistake for each in of_all_processes(self.mistakes) for mistake in each]
        logits, labels = (torch.cat(each) for each in zip(*seen, strict=True))
        of_labels = of_each_label(logits, labels, self.thresholds)
        numbers = {}
        for index in (of_labels["images"] > 0).nonzero().flatten().tolist():
            name = plain(self.exam.class_names[index])
            numbers[f"f1_of/{name}"] = float(of_labels["f1"][index])
            if not of_labels["average_precision"][index].isnan():
                numbers[f"average_precision_of/{name}"] = float(of_labels["average_precision"][index])
        if self.is_tuned:
            numbers |= self._tuned(logits, labels, of_labels["f1"])
        if dist.is_available() and dist.is_initialized() and dist.get_rank():
            return numbers, {}
        pictures = {"per_label": drawn(per_label_figure(of_labels, len(labels), self.exam.class_names))}
        if mistakes := self._worst(mistakes):
            pictures["mistakes"] = gallery(
                [fit(mistake.picture, MISTAKE_SIDE) for mistake in mistakes],
                [self._caption(mistake) for mistake in mistakes],
                title=TITLE,
            )
        return numbers, pictures

    def _tuned(self, logits: Tensor, labels: Tensor, f1: Tensor) -> dict[str, float]:
        said, true = logits.sigmoid() >= self.thresholds, labels == 1
        both = int((said & true).sum())
        return {
            "f1_macro_tuned": float(f1.nanmean()),
            "f1_micro_tuned": 2 * both / max(int(said.sum() + true.sum()), 1),
            "exact_match_tuned": float((said == true).all(dim=1).double().mean()),
        }

    def _caption(self, mistake: Mistake) -> list[Text]:
        name, has = self.exam.class_names[mistake.label], bool(mistake.true[mistake.label])
        sure = 1 - mistake.surety if has else mistake.surety
        return [
            Text(f"{'missed' if has else 'not there'}: {name}, {sure:.0%}", warns=True),
            Text(f"true: {named(mistake.true, self.exam.class_names)}"),
            Text(f"said: {named(mistake.said, self.exam.class_names)}"),
        ]
