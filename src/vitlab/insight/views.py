"""What looking inside needs to know of a model, whoever wrote it: how its tokens lie, and where its attention can be read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from vitlab.models.encoder import Block
from vitlab.models.positions import Grid
from vitlab.models.vit import VisionTransformer
from vitlab.shapes import AllTokens, Images, Logits


@dataclass(frozen=True)
class TokenLayout:
    """The order of tokens: class tokens, registers, then patches row by row.

    `pooling` says what the head reads: the first class token, or the mean of the patch tokens.
    """

    grid: Grid
    num_class_tokens: int
    num_registers: int
    pooling: Literal["token", "avg"]

    @property
    def num_prefix_tokens(self) -> int:
        return self.num_class_tokens + self.num_registers

    @property
    def num_tokens(self) -> int:
        return self.num_prefix_tokens + self.grid[0] * self.grid[1]

    def readout(self) -> Tensor:
        """Returns the weight of each token in what the head reads; they sum to 1."""
        weights = torch.zeros(self.num_tokens)
        if self.pooling == "token":
            weights[0] = 1.0
        else:
            weights[self.num_prefix_tokens :] = 1.0 / (self.grid[0] * self.grid[1])
        return weights

    def on_grid(self, values: Tensor) -> Tensor:
        """Returns the patch tokens' values [..., tokens] as [..., rows, columns]."""
        return values[..., self.num_prefix_tokens :].unflatten(-1, self.grid)


class Tap(NamedTuple):
    """A place in a model: the input or the output of a module, and how that becomes [batch, heads, tokens, head_dim]."""

    module: nn.Module
    side: Literal["input", "output"]
    split: Callable[[Tensor], Tensor]


class AttentionTaps(NamedTuple):
    """Where one layer's queries, keys and values enter the kernel and its result leaves; the kernel multiplies q kᵀ by `scale`."""

    q: Tap
    k: Tap
    v: Tap
    out: Tap
    scale: float


class View(ABC):
    """A model seen from the outside."""

    model: nn.Module
    attentions: Sequence[AttentionTaps]

    @abstractmethod
    def layout(self, images: Images) -> TokenLayout:
        """Returns how the tokens of these images lie."""

    @abstractmethod
    def embed(self, images: Images) -> AllTokens:
        """Returns what enters the first block."""

    @abstractmethod
    def classify(self, tokens: AllTokens, grid: Grid) -> Logits:
        """Returns the logits of what `embed` gave; patch tokens may have been left out."""


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


class OwnView(View):
    """A vitlab VisionTransformer, with any patch embedding."""

    def __init__(self, model: VisionTransformer):
        self.model = model
        self.vit = model
        self.attentions = []
        for block in cast(Iterable[Block], model.blocks):
            attention = block.attn
            taps = [Tap(tap, "output", _as_it_is) for tap in (attention.tap_q, attention.tap_k, attention.tap_v, attention.tap_out)]
            self.attentions.append(AttentionTaps(*taps, scale=(model.embed_dim // attention.num_heads) ** -0.5))

    def layout(self, images: Images) -> TokenLayout:
        num_class_tokens = 0 if self.vit.cls_token is None else 1
        return TokenLayout(self.vit.grid_of(images), num_class_tokens, self.vit.num_prefix_tokens - num_class_tokens, self.vit.global_pool)

    def embed(self, images: Images) -> AllTokens:
        return self.vit.embed(images)

    def classify(self, tokens: AllTokens, grid: Grid) -> Logits:
        return self.vit.forward_head(self.vit.encode(tokens, grid))


def view_of(model: nn.Module) -> View:
    """Returns the view of a model. Raises ValueError where nobody knows how to look into it."""
    if isinstance(model, VisionTransformer):
        return OwnView(model)
    raise ValueError(f"a {type(model).__name__} cannot be looked into; a vitlab VisionTransformer would work")
