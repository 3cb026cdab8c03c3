"""Several models, or several views of an image, that answer together."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

View = Callable[[Tensor], Tensor]


def _turned(quarters: int, mirrored: bool) -> View:
    def view(images: Tensor) -> Tensor:
        turned = torch.rot90(images, quarters, (2, 3))
        return turned.flip(3) if mirrored else turned

    return view


VIEWS: dict[str, list[View]] = {
    "flip": [_turned(0, False), _turned(0, True)],
    "flips": [_turned(quarters, mirrored) for quarters in (0, 2) for mirrored in (False, True)],
    "turns": [_turned(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)],
}
"""`flip`: an image and its mirror image; `flips`: both directions; `turns`: each quarter turn."""


class Averaged(nn.Module):
    """Maps images to what `members` say of all `views`, as `average` makes one of their answers."""

    def __init__(
        self, members: Sequence[nn.Module], views: Sequence[View], average: Callable[[Tensor], Tensor]
    ):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.views = list(views)
        self.average = average

    @property
    def head(self) -> Any:
        """The first model's: a linear probe asks whether there is one."""
        return getattr(self.members[0], "head", None)

    def forward(self, images: Tensor) -> Tensor:
        return self.average(
            torch.stack([model(view(images)) for model in self.members for view in self.views])
        )
