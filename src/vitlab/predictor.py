"""A trained model and its preprocessing, ready for files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitlab.data.augment.crop import centre_view, normalise
from vitlab.data.files.decode import MAX_MEGAPIXELS, Reading, read_image
from vitlab.shapes import Images

Answer = list[tuple[str, float]]
"""Class names with their probabilities, most probable first."""


class Predictor:
    """Classifies image files the way evaluation saw them: `preprocessing` is what `ImageData.preprocessing` returned."""

    def __init__(
        self,
        model: nn.Module,
        class_names: Sequence[str],
        preprocessing: Mapping[str, Any],
        device: str = "auto",
        max_megapixels: int = MAX_MEGAPIXELS,
    ):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        try:
            self.model = model.eval().to(device)
        except (RuntimeError, AssertionError):
            raise ValueError(f"device={device} is not there; device=cpu or device=auto would work") from None
        self.device = device
        self.class_names = list(class_names)
        self.preprocessing = preprocessing
        self.reading = Reading(preprocessing.get("white"), max_megapixels)

    def read(self, file: Path) -> Tensor:
        """Returns a file's pixels at the stored size, uint8 [channels, height, width]. Raises ValueError for a file that is no image."""
        facts = self.preprocessing
        interpolation = facts.get("interpolation", "bicubic")  # an old checkpoint does not tell
        return torch.from_numpy(read_image(file, tuple(facts["stored_size"]), facts["in_channels"], interpolation, self.reading))

    def prepare(self, pictures: Sequence[Tensor]) -> Images:
        """Returns what the model sees of such pixels, on its device."""
        facts = self.preprocessing
        view = centre_view(torch.stack(list(pictures)).to(self.device), tuple(facts["image_size"]))
        return normalise(view, facts["mean"], facts["std"])

    @torch.inference_mode()
    def classify(self, files: Sequence[Path], top_k: int) -> list[Answer | str]:
        """Returns for each file its `top_k` classes, or one line that says why it could not be read."""
        answers: list[Answer | str] = [""] * len(files)
        pictures, readable = [], []
        for index, file in enumerate(files):
            try:
                pictures.append(self.read(file))
                readable.append(index)
            except ValueError as error:
                answers[index] = str(error)
        if pictures:
            probabilities = self.model(self.prepare(pictures)).float().softmax(dim=1)
            best = probabilities.topk(top_k, dim=1)
            for index, values, classes in zip(readable, best.values.tolist(), best.indices.tolist(), strict=True):
                answers[index] = [(self.class_names[label], value) for label, value in zip(classes, values, strict=True)]
        return answers
