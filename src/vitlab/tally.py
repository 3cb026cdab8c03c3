"""What a training step leaves for the next log line: loss and accuracy, without waiting for the device."""

import torch

from vitlab.shapes import Labels, Logits, Loss, SoftLabels


class TrainingTally:
    """Loss and accuracy since the last reading, on the device: a step keeps what it has, and now and then all of it is counted."""

    CAPACITY = 16
    """Steps whose logits are kept until they are counted together."""

    def __init__(self) -> None:
        self._kept: list[tuple[Loss, Logits, Labels | SoftLabels]] = []
        self._loss = self._correct = self._images = 0

    def add(self, loss: Loss, logits: Logits, labels: Labels | SoftLabels) -> None:
        """Counts a prediction as correct where it is the label, or the heaviest part of a mixed one."""
        self._kept.append((loss.detach() * len(logits), logits.detach(), labels))
        if len(self._kept) == self.CAPACITY:
            self._count()

    def _count(self) -> None:
        if not self._kept:
            return
        losses, logits, labels = zip(*self._kept, strict=True)
        truth = torch.cat(labels)
        truth = truth if truth.ndim == 1 else truth.argmax(dim=1)
        self._loss = self._loss + torch.stack(losses).sum()
        self._correct = self._correct + (torch.cat(logits).argmax(dim=1) == truth).sum()
        self._images += len(truth)
        self._kept.clear()

    @property
    def loss(self) -> float:
        """The sum of losses so far; reading it waits for the device."""
        self._count()
        return float(self._loss)

    def read(self) -> dict[str, float]:
        """Returns the means since the last reading and starts anew."""
        self._count()
        means = {"train/loss": float(self._loss) / self._images, "train/accuracy": float(self._correct) / self._images}
        self._loss = self._correct = self._images = 0
        return means
