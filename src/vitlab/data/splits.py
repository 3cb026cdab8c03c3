"""Which samples train, validate and test: deterministic, stratified, and with a fingerprint for the run
record."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vitlab.data.samples import Samples
from vitlab.data.source import Batch
from vitlab.randomness import generator_at
from vitlab.shapes import Labels


def stratified_split(
    labels: Labels, fraction: float, seed: int, name: str, class_names: Sequence[str], way_out: str
) -> tuple[Tensor, Tensor]:
    """Returns ascending indices (rest, chosen): `fraction` of every class is chosen, at least one sample and
    never the whole class.

    Raises ValueError where a class has too few samples to appear on both sides; `name` is the key to blame,
    `way_out` what would help.
    """
    rest, chosen = [], []
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        if len(members) < 2:
            which = class_names[label] if class_names else label
            raise ValueError(
                f"{name}={fraction}: class {which} has {len(members)} image(s) left to split, and needs one"
                f" on each side; more images would work, or {way_out}"
            )
        members = members[torch.randperm(len(members), generator=generator_at(seed, name, label))]
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        chosen.append(members[:count])
        rest.append(members[count:])
    return torch.cat(rest).sort().values, torch.cat(chosen).sort().values


class Split(Dataset[Batch]):
    """The samples of one purpose, fetched a batch at a time by `split[(number, positions)]`."""

    def __init__(self, samples: Samples, indices: Tensor):
        self.samples = samples
        self.indices = indices
        self.labels = samples.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, at: tuple[int, Tensor]) -> Batch:
        number, positions = at
        images, shown = self.samples.fetch_of(self.indices, positions, number)
        return Batch(images, self.labels[shown], number)

    def fingerprint(self) -> str:
        """Returns a hash of which samples these are."""
        return hashlib.sha256(self.indices.numpy().tobytes()).hexdigest()[:16]


def make_splits(
    parts: dict[str, Samples],
    val_fraction: float,
    test_fraction: float,
    seed: int,
    class_names: Sequence[str] = (),
) -> dict[str, Split]:
    """Returns train, val and test; parts that the source defines are kept, missing ones are cut from
    training.

    `test_fraction` is a share of all images and `val_fraction` of what remains for training; each lies
    between 0 and 1.
    """
    for key, fraction in (("data.val_fraction", val_fraction), ("data.test_fraction", test_fraction)):
        if not 0.0 < fraction < 1.0:
            raise ValueError(f"{key}={fraction} is no share; above 0 and below 1 would work, for example 0.1")
    train = parts.get("all") or parts["train"]
    indices = torch.arange(len(train.labels))
    splits = {
        name: Split(parts[name], torch.arange(len(parts[name].labels)))
        for name in ("val", "test")
        if name in parts
    }
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if name not in splits:
            way_out = (
                "folders train/, val/ and test/" if "all" in parts else f"a {name}/ folder beside train/"
            )
            key = f"data.{name}_fraction"
            rest, chosen = stratified_split(train.labels[indices], fraction, seed, key, class_names, way_out)
            splits[name] = Split(train, indices[chosen])
            indices = indices[rest]
    return {"train": Split(train, indices), "val": splits["val"], "test": splits["test"]}
