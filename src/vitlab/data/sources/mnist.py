"""MNIST (LeCun, Cortes, Burges 1998): 70,000 digits of 28 × 28 grey pixels, as torchvision reads them."""

import os
from pathlib import Path

from vitlab.data.samples import HeldImages, Samples
from vitlab.data.source import Source
from vitlab.files.download import download_into
from vitlab.files.home import expanded

KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
FILES = tuple(f"{part}-{kind}" for part in ("train", "t10k") for kind in KINDS)


class MNIST(Source):
    """Source of MNIST from `root`/MNIST/raw, downloaded where asked. Raises ValueError for damaged files."""

    stored_size = (28, 28)

    def __init__(self, root: str, download: bool = False):
        self.root = expanded("data.root", root)
        self.download = download

    @property
    def folder(self) -> Path:
        """Where the files are, in "raw"."""
        return self.root / "MNIST"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple("0123456789")

    def is_here(self) -> bool:
        raw = self.folder / "raw"
        missing = [name for name in FILES if not os.path.isfile(raw / name)]
        if missing and not self.download:
            raise ValueError(
                f"data.root={self.root}: no {', '.join(missing)} in {raw}; put them there, or give"
                " data.download=true"
            )
        return not missing

    def prepare(self) -> None:
        """Downloads the files if asked and needed."""
        if self.download:
            from torchvision import datasets  # takes a second to import

            by_hand = f"put {', '.join(FILES)} into {self.folder / 'raw'}"
            download_into(self.folder, lambda folder: datasets.MNIST(folder, download=True), by_hand)

    def _part(self, train: bool) -> HeldImages:
        """Reads one part."""
        from torchvision import datasets

        assert self.is_here(), "prepare() comes first"
        raw = self.folder / "raw"
        try:
            read = datasets.MNIST(self.root, train=train)
        except Exception as error:  # damaged files raise almost anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{raw}: damaged MNIST files ({reason}); remove that folder and fetch them again"
            ) from error
        images, labels = read.data, read.targets
        if tuple(images.shape) != (len(labels), 28, 28) or not set(labels.tolist()) <= set(range(10)):
            raise ValueError(
                f"{raw}: {tuple(images.shape)} pixels with {len(labels)} labels are not MNIST; fetch its"
                " files again"
            )
        return HeldImages(images[:, None], labels)

    def own_parts(self) -> set[str]:
        return {"train", "test"}

    def load(self) -> dict[str, Samples]:
        """Returns the parts "train" and "test"."""
        return {"train": self._part(train=True), "test": self._part(train=False)}
