"""What looking inside needs of a model, whoever wrote it: its tokens, and where attention is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vitlab.models.positions import Grid
from vitlab.shapes import AllTokens, Features, Images, KeptPatches, Logits

Pooling = Literal["token", "tokens", "avg", "token_avg"]
"""What the head reads: class token, all class tokens, the patches' mean, or class token and mean."""

READOUT: dict[Pooling, str] = {
    "token": "the class token",
    "tokens": "the class tokens",
    "avg": "the mean of all patches, which the head reads",
    "token_avg": "the class token and the mean of all patches, which the head reads",
}
"""The same in the words of captions."""


@dataclass(frozen=True)
class TokenLayout:
    """The order of tokens: class tokens (a distillation token is one), registers, then patches row by row."""

    grid: Grid
    num_class_tokens: int
    num_registers: int
    pooling: Pooling

    @property
    def num_prefix_tokens(self) -> int:
        return self.num_class_tokens + self.num_registers

    @property
    def num_tokens(self) -> int:
        return self.num_prefix_tokens + self.grid[0] * self.grid[1]

    def readout(self) -> Tensor:
        """Returns each token's weight in what the head reads: parts have equal shares, all sum to 1."""
        weights = torch.zeros(self.num_tokens)
        if self.pooling in ("token", "token_avg"):
            weights[0] = 1.0
        if self.pooling == "tokens":
            weights[: self.num_class_tokens] = 1.0
        if self.pooling in ("avg", "token_avg"):
            weights[self.num_prefix_tokens :] = 1.0 / (self.grid[0] * self.grid[1])
        return weights / weights.sum()

    def on_grid(self, values: Tensor) -> Tensor:
        """Returns the patch tokens' values [..., tokens] as [..., rows, columns]."""
        return values[..., self.num_prefix_tokens :].unflatten(-1, self.grid)


def as_it_is(tensor: Tensor) -> Tensor:
    """Returns its argument: for a tap where nothing has to be split."""
    return tensor


class Tap(NamedTuple):
    """A place in a model: a module's input or output, and how it becomes [batch, heads, tokens, head_dim]."""

    module: nn.Module
    side: Literal["input", "output"]
    split: Callable[[Tensor], Tensor]


class AttentionTaps(NamedTuple):
    """Where one layer's queries, keys and values enter the kernel and its result leaves; the kernel
    multiplies q kᵀ by `scale`. `weights` is where probabilities pass, for a kernel that has them."""

    q: Tap
    k: Tap
    v: Tap
    out: Tap
    scale: float
    num_heads: int
    weights: Tap | None = None


class View(ABC):
    """A model seen from outside: `blocks` give each layer's tokens. Without a head features are logits."""

    model: nn.Module
    attentions: Sequence[AttentionTaps]
    blocks: Sequence[nn.Module]
    has_head: bool

    @abstractmethod
    def layout(self, images: Images) -> TokenLayout:
        """Returns how the tokens of these images lie."""

    @abstractmethod
    def embed(self, images: Images) -> AllTokens:
        """Returns what enters the first block."""

    @abstractmethod
    def encode(self, tokens: AllTokens, grid: Grid, kept: KeptPatches | None = None) -> AllTokens:
        """Sends tokens of `embed` through blocks and last norm; `kept` says which patches they are."""

    @abstractmethod
    def head(self, tokens: AllTokens) -> Logits | Features:
        """Returns the logits of tokens from `encode`."""

    def classify(self, tokens: AllTokens, grid: Grid, kept: KeptPatches | None = None) -> Logits | Features:
        """Returns the logits of tokens from `embed`, or of the patches `kept` alone. Compiled blocks run
        eagerly, for any number of patches."""
        with torch.compiler.set_stance("force_eager"):
            return self.head(self.encode(tokens, grid, kept))

    def logits(self, images: Images) -> Logits | Features:
        """Returns the model's logits for these images, as a tensor whatever the model wraps them in."""
        return self.classify(self.embed(images), self.layout(images).grid)

    def run(self, images: Images) -> Logits | Features:
        """Returns the logits by the shortest way, without what none needs; attention is whole."""
        return self.logits(images)
