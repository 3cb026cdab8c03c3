"""What a source of labelled images is: all that `ImageData` asks of one stands here."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vitlab.data.files.bands import Layout
from vitlab.data.files.fit import Fit, Interpolation
from vitlab.data.fingerprint import combine_hashes
from vitlab.data.samples import Samples
from vitlab.data.targets import TargetKind


class Batch(NamedTuple):
    """One step's images and labels; `number` counts the training batches since the run began (evaluation: the
    pass); `weights` say how much each sample counts in training, as `Split.weights` has them."""

    images: Tensor
    labels: Tensor
    number: int
    weights: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Returns the batch on a device; only copies to CUDA are not waited for, as with Lightning."""
        on_cuda = device.type == "cuda"
        return Batch(
            self.images.to(device, non_blocking=on_cuda),
            self.labels.to(device, non_blocking=on_cuda),
            self.number,
            None if self.weights is None else self.weights.to(device, non_blocking=on_cuda),
        )


class Source(ABC):
    """A set of labelled images, as uint8."""

    interpolation: Interpolation = "bicubic"
    """How picture files are resized to the stored size."""

    fit: Fit = "crop"
    """How oblong picture files become the stored size."""

    value_range: tuple[float, float] | None = None
    """Which values of more than 8 bits are black and white in files; None: not stated."""

    npy_layout: Layout | None = None
    """Where .npy files have their channels; None: where the shape tells."""

    white: int | None = None
    """The white of picture files of 16 bits; None: not known before `load`, or there are none."""

    stored_size: tuple[int, int] | None = None
    """Height and width of its images, where that is known without reading one."""

    whole: bool = False
    """Whether all its images are for testing; then it may hold any classes, in any parts."""

    targets: TargetKind = "class"
    """What it says of each image: one class, several labels, or numbers."""

    hashed: str | None = None
    """When the images were hashed for `fingerprint`, in ISO 8601; None: at this start."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names by class index. Cheap. Raises ValueError where the data is missing or unusable."""

    def own_parts(self) -> Collection[str] | None:
        """Returns the names of the parts that `load` will return; None where that shows only then. Cheap."""
        return None

    def is_here(self) -> bool:
        """Tells whether the data is on the disk; if not, `prepare` will fetch it. Cheap. Raises ValueError
        where it is missing and cannot be fetched."""
        return True

    @abstractmethod
    def prepare(self) -> None:
        """Downloads and fills caches; called once a machine, before `load`."""

    @abstractmethod
    def load(self) -> dict[str, Samples]:
        """Returns the parts: `{"all"}`, or `{"train", "test"}`, or `{"train", "val", "test"}`."""

    def fingerprint(self, parts: Mapping[str, Samples]) -> str:
        """Returns a hash of class names, images and labels; `parts` are what `load` returned."""
        return combine_hashes(
            self.class_names, {part: samples.fingerprint() for part, samples in parts.items()}
        )
