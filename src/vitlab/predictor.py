"""A trained model and its preprocessing, ready for files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vitlab.data.files.decode import MAX_MEGAPIXELS
from vitlab.data.preprocessing import Preprocessing
from vitlab.objectives.objective import Objective
from vitlab.objectives.wording import Answer, most_probable_by_softmax
from vitlab.shapes import Images


class Predictor:
    """Answers for image files the way evaluation saw them.

    `objective` asks the model and makes words of what it says; without one the model gives scores of classes.
    """

    def __init__(
        self,
        model: nn.Module,
        class_names: Sequence[str],
        preprocessing: Preprocessing,
        device: str = "auto",
        max_megapixels: int = MAX_MEGAPIXELS,
        objective: Objective | None = None,
    ):
        if device == "auto":
            device = (
                "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
            )
        try:
            self.model = model.eval().to(device)
        except (RuntimeError, AssertionError):
            raise ValueError(f"device={device} is not there; device=cpu or device=auto would work") from None
        self.device = device
        self.class_names = list(class_names)
        self.preprocessing = preprocessing
        self.objective = objective
        self.max_megapixels = max_megapixels

    def read(self, file: Path) -> Tensor:
        """Returns a file at the stored size, uint8 [channels, height, width], or raises ValueError."""
        return self.preprocessing.read(file, self.max_megapixels)

    def prepare(self, pictures: Sequence[Tensor]) -> Images:
        """Returns what the model sees of such pixels, on its device."""
        return self.preprocessing.view(torch.stack(list(pictures)).to(self.device))

    @torch.inference_mode()
    def classify(
        self,
        files: Sequence[Path],
        top_k: int,
        seen: Callable[[list[int], Tensor, Tensor], None] | None = None,
    ) -> list[Answer | str]:
        """Returns for each file its `top_k` answers, or one line that says why it could not be read; `seen`
        is shown the readable files' places, what the model saw and its outputs."""
        answers: list[Answer | str] = [""] * len(files)
        pictures, readable = [], []
        for index, file in enumerate(files):
            try:
                pictures.append(self.read(file))
                readable.append(index)
            except ValueError as error:
                answers[index] = str(error)
        if pictures:
            images = self.prepare(pictures)
            if self.objective is None:
                outputs, said = self.model(images), most_probable_by_softmax
            else:
                outputs, said = self.objective.outputs(self.model, images), self.objective.answers
            if seen is not None:
                seen(readable, images, outputs)
            for index, answer in zip(readable, said(outputs, self.class_names, top_k), strict=True):
                answers[index] = answer
        return answers
