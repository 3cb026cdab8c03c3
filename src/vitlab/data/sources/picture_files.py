"""What sources of picture files share: settings, and the way from files to samples."""

import logging
import math
import shutil
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar, Literal

from vitlab.data.files.bands import Layout, check_reading
from vitlab.data.files.decode import MAX_MEGAPIXELS, Reading
from vitlab.data.files.decoded import Decoding
from vitlab.data.files.find import as_text
from vitlab.data.files.fit import FITS, Fit, Interpolation, sides
from vitlab.data.files.places import Picture
from vitlab.data.files.sixteen_bits import FULL, white_of
from vitlab.data.files.store import Stored, cache_root, open_store
from vitlab.data.files.survey import open_files
from vitlab.data.fingerprint import combine_hashes
from vitlab.data.samples import Samples
from vitlab.data.source import Source
from vitlab.data.sources.layout import class_name
from vitlab.data.sources.listed_pictures import Listed
from vitlab.data.sources.notes import notes_on_classes, notes_on_pictures
from vitlab.data.targets import IN_WORDS, TargetKind, hash_of
from vitlab.files.home import expanded

log = logging.getLogger(__name__)

AUTO_BYTES = 20_000_000_000
"""What `data.store=auto` keeps decoded at most."""

LISTED = 20  # skipped files named in the warning; `skipped` has all


def _hash(stored: Stored) -> str:
    """Returns a hash of images and labels; the store knows no labels that are not classes."""
    labels = stored.data.labels
    return stored.content if labels.ndim == 1 else stored.content + hash_of(labels)


class PictureFiles(Source):
    """Source of picture files below `root`, wherever their labels stand: a source of its own writes
    `class_names` and `_list`.

    Images become `image_size` (pixels: a side, or [height, width]) as `fit` says, with `in_channels` 1 or 3
    (TIFF and .npy: any number), decoded once into `cache_dir`, or with `store="none"` at each visit.
    `value_range` says which values of more than 8 bits are black and white. `class_names` fixes the classes
    and their order (else: all that are found, sorted). Raises ValueError for settings and data that cannot be
    used.
    """

    kinds: ClassVar[tuple[TargetKind, ...]] = ("class",)
    """The kinds of targets that the source has; the argument `targets` chooses one."""

    def __init__(
        self,
        root: str,
        image_size: int | list[int],
        in_channels: int = 3,
        cache_dir: str | None = None,
        class_names: list[str] | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        interpolation: Interpolation = "bicubic",
        max_megapixels: int = MAX_MEGAPIXELS,
        store: Literal["auto", "cache", "none"] = "cache",
        fit: Fit = "crop",
        value_range: list[float] | None = None,
        npy_layout: Layout | None = None,
        targets: TargetKind = "class",
    ):
        size = sides("stored_size", image_size)
        if in_channels < 1:
            raise ValueError(f"data.in_channels={in_channels} must be at least 1")
        if fit not in FITS:
            raise ValueError(f"data.fit={fit}: give crop, pad or squash")
        check_reading(value_range, npy_layout)
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"data.on_bad_image={on_bad_image}: give error or skip")
        if interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"data.interpolation={interpolation}: give bicubic or bilinear")
        if store not in ("auto", "cache", "none"):
            raise ValueError(f"data.store={store}: give auto, cache or none")
        if targets not in self.kinds:
            raise ValueError(
                f"data.targets={targets}, as the objective has it: {type(self).__name__} has"
                f" {' or '.join(IN_WORDS[kind] for kind in self.kinds)}; data=table has all kinds"
            )
        if max_megapixels < 1:
            raise ValueError(f"data.max_megapixels={max_megapixels} must be at least 1")
        names = class_names and [class_name(name) for name in class_names]
        if names and len(set(names)) < len(names):
            raise ValueError(f"data.class_names={class_names}: a name stands there twice")
        self.root = expanded("data.root", root)
        both_ends = None if value_range is None else (value_range[0], value_range[1])
        reading = Reading(None, max_megapixels, both_ends, npy_layout)
        self.decoding = Decoding(size, in_channels, on_bad_image, interpolation, reading, fit)
        self.interpolation, self.fit, self.npy_layout = interpolation, fit, npy_layout
        self.value_range = self.decoding.reading.value_range
        self.stored_size = self.decoding.size
        self.targets = targets
        self.cache_dir = cache_dir
        self.store = store
        self.expected = names
        self.skipped: tuple[tuple[Picture, str], ...] = ()
        """The files left out by the last `load`, and why."""
        self._listed: dict[str, Listed] | None = None
        self._opened: dict[str, Stored] | None = None
        self._hashes: dict[str, str] = {}

    @abstractmethod
    def _list(self) -> dict[str, Listed]:
        """Returns what each part holds, once. Raises ValueError for a class or part without an image."""

    def number_as(self, names: list[str]) -> None:
        """Gives the classes, which have these very names, the numbers that they have there."""
        if list(self.class_names) != names:
            self.expected, self._listed = names, None

    @property
    def origin(self) -> str:
        """Where the labels stand, for messages: a key and its value."""
        return f"data.root={as_text(self.root)}"

    def own_parts(self) -> Collection[str]:
        return self.listed().keys()

    def listed(self) -> dict[str, Listed]:
        """Returns what each part holds."""
        if self._listed is None:
            self._listed = self._list()
        return self._listed

    def fitting_store(self) -> str:
        """Returns "cache" or "none"; of "auto" it makes the first where all images take at most `AUTO_BYTES`
        and half of what is free on the disk."""
        if self.store == "auto":
            count = sum(len(holds.labels) for holds in self.listed().values())
            needed = count * self.decoding.channels * math.prod(self.decoding.size)
            root = cache_root(self.cache_dir).absolute()
            free = shutil.disk_usage(next(each for each in (root, *root.parents) if each.exists())).free
            self.store = "cache" if needed <= min(AUTO_BYTES, free / 2) else "none"
            told = f"{count:,} images take {needed / 1e9:.1f} GB decoded, and {free / 1e9:.0f} GB are free"
            log.info("data.store=%s: %s", self.store, told)
        return self.store

    def is_here(self) -> bool:
        cache_root(self.cache_dir)  # a user without a home hears of it now
        self.listed()
        return True

    def _open(self) -> dict[str, Stored]:
        """Returns for each part what its store holds; finds out what is white in files of 16 bits."""
        parts = self._decoded(self.white or FULL)
        if self.white is None and (highest := max(stored.facts.highest for stored in parts.values())):
            self.white = white_of(highest)
            if self.white < FULL:
                taken = f"taken for values of {self.white.bit_length()} bits"
                log.warning("%s: 16-bit pictures whose values end at %d: %s", self.origin, highest, taken)
                parts = self._decoded(self.white)
        return parts

    def _decoded(self, white: int) -> dict[str, Stored]:
        decoding = self.decoding._replace(reading=self.decoding.reading._replace(white=white))
        parts = {}
        for part, holds in self.listed().items():
            opener = open_store if self.fitting_store() == "cache" else open_files
            stored = opener(holds.places, holds.labels, decoding, self.cache_dir)
            lost = set(holds.labels) - set(stored.data.labels.tolist())
            if lost and part in ("all", "train"):
                why = "none of its images can be used; replace them or remove the class"
                raise ValueError(f"{self.origin}: class {self.class_names[min(lost)]}: {why}")
            holds.told_to(stored)
            parts[part] = stored
        return parts

    def _notes(self, opened: Mapping[str, Stored]) -> Iterator[str]:
        """Yields a line on each thing that whoever chose the data may not know."""
        yield from notes_on_pictures(self.origin, opened, self.white, self.value_range)
        yield from notes_on_classes(self.origin, opened, self.class_names)

    def prepare(self) -> None:
        """Decodes what the cache does not hold yet."""
        self._opened = self._open()

    def load(self) -> dict[str, Samples]:
        """Returns the parts "all", or "train" and what there is of "val" and "test"."""
        opened = self._opened or self._open()  # files are looked at once a start
        self.skipped = tuple(
            (self.listed()[part].places[index], reason)
            for part, stored in opened.items()
            for index, reason in stored.skipped
        )
        if self.skipped:
            reasons = [as_text(f"{path}: {reason}") for path, reason in self.skipped[:LISTED]]
            more = f"; and {len(self.skipped) - LISTED} more" if len(self.skipped) > LISTED else ""
            log.warning("%d images skipped: %s%s", len(self.skipped), "; ".join(reasons), more)
        for note in self._notes(opened):
            log.warning("%s", note)
        self._hashes = {part: _hash(stored) for part, stored in opened.items()}
        self.hashed = min(stored.hashed for stored in opened.values())
        return {part: stored.data for part, stored in opened.items()}

    def fingerprint(self, parts: Mapping[str, Samples]) -> str:
        """Returns a hash of class names, images and labels, as they were when the cache was written."""
        return combine_hashes(self.class_names, {part: self._hashes[part] for part in parts})
