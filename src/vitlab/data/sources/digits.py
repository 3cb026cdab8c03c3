"""1,797 digits of 8 × 8 grey pixels (Alpaydin and Kaynak 1998, UCI, CC BY 4.0; from scikit-learn)."""

from importlib import resources

import numpy as np
import torch

from vitlab.data.samples import HeldImages, Samples
from vitlab.data.source import Source


class Digits(Source):
    """Source of the digits, part "all"; their 17 shades (0 to 16) are spread over 0 to 255."""

    stored_size = (8, 8)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple("0123456789")

    def prepare(self) -> None:
        """Does nothing: there is nothing to fetch."""

    def own_parts(self) -> set[str]:
        return {"all"}

    def load(self) -> dict[str, Samples]:
        """Returns all images as one part, "all"."""
        with (
            resources.files("vitlab.data.sources").joinpath("digits.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            shades, labels = arrays["images"], arrays["labels"]
        pixels = np.round(shades * (255 / 16)).astype(np.uint8)
        classes = torch.from_numpy(labels.astype(np.int64))
        return {"all": HeldImages(torch.from_numpy(pixels[:, None]), classes)}
