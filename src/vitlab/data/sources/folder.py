"""Images in folders, one folder a class."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from vitlab.data.files.find import describe_unread, look_beside, look_for_images, nothing_found
from vitlab.data.files.listing import Listing, list_folders
from vitlab.data.files.store import Stored, cache_root
from vitlab.data.sources.layout import any_layout, find_layout, in_order
from vitlab.data.sources.listed_pictures import Listed, once_each
from vitlab.data.sources.picture_files import PictureFiles


class ImageFolder(PictureFiles):
    """Source of images in `root`: a folder for each class (part "all"), or such folders below train, val and
    test. With several labels an image (`targets`) it has those of all folders that hold it."""

    kinds = ("class", "labels")

    renamed: ClassVar[dict[str, str]] = {}
    """Folder names that stand for a class of another name."""

    _left_out = ""

    def _layout(self) -> dict[str, dict[str, Path]]:
        """Returns for each part its class folders."""
        if self.whole:
            return any_layout(self.root)
        return find_layout(self.root, self.renamed, self.expected)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index."""
        layout = self._layout()
        if self.whole:
            return tuple(sorted({name for folders in layout.values() for name in folders}, key=in_order))
        return tuple(self.expected or next(iter(layout.values())))

    def own_parts(self) -> Collection[str]:
        return self._layout().keys()

    def _list(self) -> dict[str, Listed]:
        layout = self._layout()
        folders = [folder for of_part in layout.values() for folder in of_part.values()]
        found = list_folders(self.root, folders, cache_root(self.cache_dir))
        number = {name: index for index, name in enumerate(self.class_names)}
        parts, counts, start = {}, iter(found.counts), 0
        for part, of_part in layout.items():
            held = {name: next(counts) for name in of_part}
            empty = [name for name, count in held.items() if not count]
            if empty and (part in ("all", "train") or len(empty) == len(held)):
                raise nothing_found(of_part[empty[0]], look_for_images(of_part[empty[0]]))
            end = start + sum(held.values())
            labels = [number[name] for name, count in held.items() for _ in range(count)]
            parts[part] = Listed(found.places.take(np.arange(start, end)), labels)
            if self.targets == "labels":
                parts[part] = once_each(parts[part], len(number), cache_root(self.cache_dir))
            start = end
        self._left_out = self._what_else(found, [self.root, *(folder.parent for folder in folders)])
        return parts

    def _what_else(self, found: Listing, parents: Iterable[Path]) -> str:
        """Says what lies there beside the images that are taken, or nothing."""
        beside = [look_beside(parent) for parent in dict.fromkeys(parents)]
        images = sum(len(each.images) for each in beside)
        unread = Counter({"image(s) beside the class folders": images} if images else {}) + found.unread
        systems = Counter(found.systems)
        for each in beside:
            unread += each.unread
            systems += each.systems
        return describe_unread(unread, systems)

    def _notes(self, opened: Mapping[str, Stored]) -> Iterator[str]:
        if self._left_out:
            yield f"{self.origin}: {self._left_out}"
        yield from super()._notes(opened)
