"""Images in folders, one folder a class: any such data set on disk as a source."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from vitlab.data.files.decode import Interpolation, find_images
from vitlab.data.files.store import Decoding, Stored, open_store
from vitlab.data.fingerprint import combine_hashes
from vitlab.data.source import LabelledImages, Source
from vitlab.data.sources.layout import find_layout

log = logging.getLogger(__name__)

LISTED = 20  # skipped files named in the warning; `skipped` has all


class ImageFolder(Source):
    """Source of images in `root`: a folder for each class (part "all"), or such folders below train, val and test.

    Images become `image_size` (pixels: a side, or [height, width]) with `in_channels` 1 or 3, decoded once into `cache_dir`; `class_names`
    fixes the classes and their order (else: all folders, sorted). Raises ValueError for settings and data that cannot be used.
    """

    renamed: ClassVar[dict[str, str]] = {}
    """Folder names that stand for a class of another name."""

    def __init__(
        self,
        root: str,
        image_size: int | list[int],
        in_channels: int = 3,
        cache_dir: str | None = None,
        class_names: list[str] | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        interpolation: Interpolation = "bicubic",
    ):
        size = image_size if isinstance(image_size, list) else [image_size, image_size]
        if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(f"data.stored_size={image_size!r}: give a side in pixels, or [height, width]")
        if in_channels not in (1, 3):
            raise ValueError(f"data.in_channels={in_channels}: images are read with 1 channel (grey) or 3 (colour)")
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"data.on_bad_image={on_bad_image}: give error or skip")
        if interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"data.interpolation={interpolation}: give bicubic or bilinear")
        if class_names is not None and len(set(class_names)) < len(class_names):
            raise ValueError(f"data.class_names={class_names}: a name stands there twice")
        self.root = Path(root).expanduser()
        self.decoding = Decoding((size[0], size[1]), in_channels, on_bad_image, interpolation)
        self.interpolation = interpolation
        self.cache_dir = cache_dir
        self.expected = class_names
        self.skipped: tuple[tuple[Path, str], ...] = ()
        """The files left out by the last `load`, and why."""
        self._opened: dict[str, tuple[Stored, list[Path]]] | None = None
        self._hashes: dict[str, str] = {}

    def _layout(self) -> dict[str, dict[str, Path]]:
        """Returns for each part its class folders."""
        return find_layout(self.root, self.renamed, self.expected)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index."""
        return tuple(self.expected or next(iter(self._layout().values())))

    def is_here(self) -> bool:
        for folders in self._layout().values():
            for folder in folders.values():
                find_images(folder)
        return True

    def _open(self) -> dict[str, tuple[Stored, list[Path]]]:
        """Returns for each part what its store holds, and the files behind it."""
        layout, number = self._layout(), {name: index for index, name in enumerate(self.class_names)}
        parts = {}
        for part, folders in layout.items():
            found = {name: find_images(folder) for name, folder in folders.items()}
            files = [file for name in found for file in found[name]]
            labels = [number[name] for name in found for _ in found[name]]
            stored = open_store(files, labels, self.decoding, self.cache_dir)
            left = set(stored.data.labels.tolist())
            for name in found:
                if number[name] not in left:
                    raise ValueError(f"{folders[name]}: none of its images can be used; replace them or remove the class")
            parts[part] = stored, files
        return parts

    def prepare(self) -> None:
        """Decodes what the cache does not hold yet."""
        self._opened = self._open()

    def load(self) -> dict[str, LabelledImages]:
        """Returns the parts "all", or "train" and what there is of "val" and "test"."""
        opened = self._opened or self._open()  # files are looked at once a start
        self.skipped = tuple((files[index], reason) for stored, files in opened.values() for index, reason in stored.skipped)
        if self.skipped:
            reasons = [f"{path}: {reason}" for path, reason in self.skipped[:LISTED]]
            more = f"; and {len(self.skipped) - LISTED} more" if len(self.skipped) > LISTED else ""
            log.warning("%d images skipped: %s%s", len(self.skipped), "; ".join(reasons), more)
        self._hashes = {part: stored.content for part, (stored, _) in opened.items()}
        self.hashed = min(stored.hashed for stored, _ in opened.values())
        return {part: stored.data for part, (stored, _) in opened.items()}

    def fingerprint(self, parts: Mapping[str, LabelledImages]) -> str:
        """Returns a hash of class names, images and labels, as they were when the cache was written."""
        return combine_hashes(self.class_names, {part: self._hashes[part] for part in parts})
