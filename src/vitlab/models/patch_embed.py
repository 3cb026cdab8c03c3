"""Patch embeddings: from images to tokens, one for each cell of a grid."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from vitlab.models.positions import Grid
from vitlab.shapes import Images, Tokens


def patch_grid(image_size: tuple[int, int], patch_size: int) -> Grid:
    """Returns the patches in a column and a row. Raises ValueError where they do not divide the image."""
    height, width = image_size
    if patch_size < 1 or height % patch_size or width % patch_size:
        divisors = [n for n in range(1, min(*image_size, 1024) + 1) if height % n == 0 and width % n == 0]
        raise ValueError(
            f"patch_size={patch_size} does not divide the image of {height} x {width} px; what does:"
            f" {divisors}"
        )
    return height // patch_size, width // patch_size


class PatchEmbed(nn.Module):
    """What a patch embedding tells of itself; `forward` maps images to tokens, row by row. `patch_size` is
    the side in pixels of the square that a token stands for, `embed_dim` the width of a token."""

    def __init__(self, patch_size: int, embed_dim: int):
        super().__init__()
        if patch_size < 1 or embed_dim < 1:
            raise ValueError(f"{patch_size=} and {embed_dim=} must each be at least 1")
        self.patch_size = patch_size
        self.embed_dim = embed_dim


class LinearPatchEmbed(PatchEmbed):
    """One linear map of each patch's pixels (Dosovitskiy et al. 2021), as a strided convolution."""

    def __init__(self, patch_size: int, in_channels: int, embed_dim: int):
        super().__init__(patch_size, embed_dim)
        self.proj = nn.Conv2d(in_channels, embed_dim, kernel_size=patch_size, stride=patch_size)

    def by_product(self, images: Images) -> Tokens:
        """Returns the tokens by one matrix product over the patches' pixels. That is the faster way on a GPU
        (benchmarks/results/gpu.md): cuDNN turns the images around first, and is slow on three channels."""
        side = self.patch_size
        # [B, channels, rows, side, columns, side]
        patches = images.unflatten(3, (-1, side)).unflatten(2, (-1, side))
        pixels = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return F.linear(pixels, self.proj.weight.flatten(1), self.proj.bias)

    def forward(self, images: Images) -> Tokens:
        return self.by_product(images) if images.is_cuda else self.proj(images).flatten(2).transpose(1, 2)


class ConvStem(PatchEmbed):
    """Overlapping 3 x 3 convolutions of stride 2, then one of 1 x 1 ("Early Convolutions Help Transformers
    See Better", Xiao et al. 2021).

    Batch normalisation and ReLU follow each convolution. Channels start at `stem_width` and double up to
    `embed_dim`; with `stem_width` None only the last resolution reaches `embed_dim`. Each resolution has
    `convs_per_stage` convolutions, of which the first has stride 2. `patch_size` is the stride of the whole
    stem, a power of two: 8 takes three resolutions.
    """

    def __init__(
        self,
        patch_size: int,
        in_channels: int,
        embed_dim: int,
        stem_width: int | None = None,
        convs_per_stage: int = 1,
    ):
        super().__init__(patch_size, embed_dim)
        num_stages = int(math.log2(patch_size)) if patch_size > 1 else 0
        if num_stages == 0 or 2**num_stages != patch_size:
            raise ValueError(f"patch_embed=conv_stem needs patch_size = 2, 4, 8, 16 or 32, got {patch_size}")
        if stem_width is None and embed_dim % 2 ** (num_stages - 1):
            raise ValueError(
                f"patch_embed=conv_stem with {patch_size=} needs an embed_dim divisible by"
                f" {2 ** (num_stages - 1)}, got {embed_dim}"
            )
        if (stem_width is not None and stem_width < 1) or convs_per_stage < 1:
            raise ValueError(
                f"patch_embed.stem_width={stem_width} and patch_embed.convs_per_stage={convs_per_stage} must"
                " be at least 1"
            )
        first = stem_width or embed_dim // 2 ** (num_stages - 1)
        layers: list[nn.Module] = []
        channels = in_channels
        for stage in range(num_stages):
            width = embed_dim if stage == num_stages - 1 else min(embed_dim, first * 2**stage)
            for stride in [2, *[1] * (convs_per_stage - 1)]:
                layers += [
                    nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
        self.stem = nn.Sequential(*layers)
        self.proj = nn.Conv2d(embed_dim, embed_dim, kernel_size=1)
        # 1.3 x faster on CPU than the default layout
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Images) -> Tokens:
        images = images.contiguous(memory_format=torch.channels_last)
        return self.proj(self.stem(images)).flatten(2).transpose(1, 2)
