"""A training split whose pictures are decoded at each visit, as random crops of their files."""

from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset

from vitlab.data.augment.draws import Draws
from vitlab.data.files.crops import Cut
from vitlab.data.files.decoded import DecodedFiles
from vitlab.data.files.fit import Size
from vitlab.data.source import Batch
from vitlab.data.splits import Split


class TrainingCrops(Dataset[Batch]):
    """Crops of a split of `DecodedFiles` at `size`, which show shares of the picture between the two of
    `area`; fetched a batch at a time by `crops[(number, positions)]`.

    Whoever fetches, each crop follows from `seed`, the batch's number and the sample's place in the batch of
    all ranks: they are the boxes and flips that `Augment` draws for stored images.
    """

    def __init__(
        self,
        split: Split,
        area: Sequence[float],
        flip: float,
        size: Size,
        seed: int,
        rank: int,
        world_size: int,
    ):
        self.split = split
        self.area = area
        self.flip = flip
        self.size = size
        self.seed = seed
        self.place = {"rank": rank, "world_size": world_size}

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, at: tuple[int, Tensor]) -> Batch:
        number, positions = at
        samples = self.split.samples
        assert isinstance(samples, DecodedFiles)
        draws = Draws(self.seed, number, len(positions), **self.place).uniform("crop", 5)
        cut = Cut(draws, self.flip, self.area, self.size)
        images, shown = samples.fetch_of(self.split.indices, positions, number, cut)
        return Batch(images, self.split.labels[shown], number, self.split.weights_at(shown))
