"""Which samples train, validate and test: a function of data and seed, with a fingerprint."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vitlab.data.samples import Samples
from vitlab.data.source import Batch
from vitlab.data.stratified import stratified_folds, stratified_split
from vitlab.data.targets import counts_of
from vitlab.data.units import units_of


class Split(Dataset[Batch]):
    """The samples of one purpose, fetched a batch at a time by `split[(number, positions)]`."""

    def __init__(self, samples: Samples, indices: Tensor):
        self.samples = samples
        self.indices = indices
        self.labels = samples.labels[indices]
        self.weights: Tensor | None = None
        """How much each sample counts in training, 1 on average; None: all the same. `weigh` sets it."""

    def weigh(self) -> None:
        """Takes up the samples' own weights. Raises ValueError where all of them are 0."""
        own = self.samples.weights
        if own is None or not len(self):
            return
        weights = own[self.indices].double()
        if not weights.any():
            raise ValueError("all weights of the training images are 0; one above 0 would work")
        # all the same are none, so that not one bit of a run differs
        self.weights = None if (weights == weights[0]).all() else (weights / weights.mean()).float()

    def weights_at(self, positions: Tensor) -> Tensor | None:
        """Returns the weights of the samples at these positions; None where all count the same."""
        return None if self.weights is None else self.weights[positions]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, at: tuple[int, Tensor]) -> Batch:
        number, positions = at
        images, shown = self.samples.fetch_of(self.indices, positions, number)
        return Batch(images, self.labels[shown], number, self.weights_at(shown))

    def fingerprint(self) -> str:
        """Returns a hash of which samples these are, and of their weights where they have some."""
        content = hashlib.sha256(self.indices.numpy().tobytes())
        if self.weights is not None:
            content.update(self.weights.numpy().tobytes())
        return content.hexdigest()[:16]


def check_shares(val_fraction: float, test_fraction: float, num_folds: int | None, fold: int) -> None:
    """Raises ValueError for a share outside 0 to 1, and for the number of a fold that does not exist."""
    for key, fraction in (("data.val_fraction", val_fraction), ("data.test_fraction", test_fraction)):
        if not 0.0 <= fraction < 1.0:
            raise ValueError(
                f"{key}={fraction} is no share; from 0, for none, to below 1 would work, for example 0.1"
            )
    if num_folds is None and fold:
        raise ValueError(f"data.fold={fold} is a fold of none; data.num_folds=5 would make some")
    if num_folds is not None and num_folds < 2:
        raise ValueError(f"data.num_folds={num_folds} must be 2 or more, or null for none")
    if num_folds is not None and not 0 <= fold < num_folds:
        raise ValueError(
            f"data.fold={fold}: data.num_folds={num_folds} are numbered from 0 to {num_folds - 1}"
        )


def make_splits(
    parts: dict[str, Samples],
    val_fraction: float,
    test_fraction: float,
    seed: int,
    class_names: Sequence[str] = (),
    num_folds: int | None = None,
    fold: int = 0,
) -> dict[str, Split]:
    """Returns train, val and test; parts that the source defines are kept, missing ones are cut from
    training.

    `test_fraction` is a share of all images and `val_fraction` of what remains for training; of 0 the split
    is empty. With `num_folds` the test split is the fold of that number, or validation where the source has
    its own test part.
    """
    check_shares(val_fraction, test_fraction, num_folds, fold)
    train = parts.get("all") or parts["train"]
    units = units_of(train)
    indices = torch.arange(len(train.labels))
    own = [name for name in ("val", "test") if name in parts]
    splits = {name: Split(parts[name], torch.arange(len(parts[name].labels))) for name in own}
    if num_folds is not None:
        if len(splits) == 2:
            raise ValueError(
                f"data.num_folds={num_folds}: the data has its own val and test, and nothing is left to fold;"
                " data.num_folds=null would work, or data without these parts"
            )
        folds = stratified_folds(train.labels, num_folds, seed, class_names, units)
        splits["val" if "test" in splits else "test"] = Split(train, (folds == fold).nonzero().flatten())
        indices = (folds != fold).nonzero().flatten()
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if name in splits:
            continue
        if not fraction:
            splits[name] = Split(train, indices[:0])
            continue
        way_out = "folders train/, val/ and test/" if "all" in parts else f"a {name}/ folder beside train/"
        blame = (f"data.{name}_fraction", class_names, way_out)
        of_rest = None if units is None else units[indices]
        rest, chosen = stratified_split(train.labels[indices], fraction, seed, *blame, of_rest)
        splits[name] = Split(train, indices[chosen])
        indices = indices[rest]
    return {"train": Split(train, indices), "val": splits["val"], "test": splits["test"]}


def describe_absent(splits: Mapping[str, Split], class_names: Sequence[str]) -> list[str]:
    """Returns a line for each split that was cut from the training images and lacks one of their classes. A
    class lacks there when it has fewer images, or groups, than there are splits."""
    train, lines = splits["train"], []
    for name, split in splits.items():
        if split.samples is not train.samples or not len(split):
            continue
        here, all_train = (counts_of(each.labels, len(class_names)) for each in (split, train))
        lacks = ((all_train > 0) & (here == 0)).tolist()
        if absent := [name for name, lacking in zip(class_names, lacks, strict=True) if lacking]:
            more = f" and {len(absent) - 5:,} more" if len(absent) > 5 else ""
            these = f"{', '.join(absent[:5])}{more}"
            lines.append(f"{name} has no image of {these}, which are too few to be parted")
    return lines
