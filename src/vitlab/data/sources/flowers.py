"""The flowers: 4,300 photographs in five classes (Kaggle's), or the 3,670 of TensorFlow's archive."""

import os
from pathlib import Path
from typing import Any, ClassVar

from vitlab.data.sources.folder import ImageFolder
from vitlab.data.sources.layout import find_layout, visible_folders
from vitlab.files.download import fetch_archive

CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")

URL = "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz"
# Read in ten public files, not computed from a download of ours (some add its 228,813,984 bytes, one the MD5
# that others check, 6f87fb78e9cc9ab41eff2015b380011d).
SHA256 = "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c"

INNER = ("flower_photos", "flowers")
"""Folders that the two archives wrap their class folders in."""


class Flowers(ImageFolder):
    """Source of the five classes of flowers in `root`, laid out as `ImageFolder` reads it or as either
    archive unpacks. With `download`, an empty `root` is filled with the public archive (229 MB, CC BY 2.0) by
    `prepare`. Raises ValueError if there are no flowers in `root`, or other folders."""

    renamed: ClassVar[dict[str, str]] = {"roses": "rose", "sunflowers": "sunflower", "tulips": "tulip"}

    def __init__(self, root: str, image_size: int | list[int], download: bool = False, **options: Any):
        super().__init__(root, image_size, class_names=list(CLASSES), **options)
        self.download = download

    def _is_empty(self) -> bool:
        """Whether there is no folder of images in `root` yet."""
        return not os.path.exists(self.root) or not visible_folders(self.root)

    def _layout(self) -> dict[str, dict[str, Path]]:
        if self._is_empty():
            raise ValueError(
                f"data.root={self.root}: no flowers there; name the folder that holds {', '.join(CLASSES)},"
                " or give data.download=true"
            )
        folders = visible_folders(self.root)
        inner = next((folders[name] for name in INNER if len(folders) == 1 and name in folders), self.root)
        return find_layout(inner, self.renamed, self.expected)

    def is_here(self) -> bool:
        return not (self.download and self._is_empty()) and super().is_here()

    def prepare(self) -> None:
        """Downloads the archive if asked and needed, and decodes what the cache does not hold yet."""
        if self.download and self._is_empty():
            fetch_archive(URL, self.root / INNER[0], SHA256)
        super().prepare()
