"""Patch embeddings with a ResNet, of each patch or the image; names of parameters as torchvision's."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from vitlab.models.patch_embed import PatchEmbed, patch_grid
from vitlab.shapes import Features, Images, Patches, Tokens

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet50_349"]

TRUNKS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet50_349": (Bottleneck, (3, 4, 9)),  # the ViT paper's: what was the fourth stage lengthens the third
}
"""Block and number of blocks in each stage ("Deep Residual Learning", He et al. 2016)."""

STEM_STRIDE = {"small": 1, "imagenet": 4}


class FixedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the weights' own statistics, in training too: images stay independent."""

    def __init__(self, num_features: int):
        super().__init__(num_features)
        self.training = False

    def train(self, mode: bool = True) -> "FixedBatchNorm":
        return super().train(False)


NORMS = {"group": partial(nn.GroupNorm, 8), "batch": FixedBatchNorm}


def trunk_stride(stem: str, stages: int) -> int:
    """Returns the side in pixels of what one cell of the trunk's last feature map stands for, such as 8."""
    return STEM_STRIDE[stem] * 2 ** (stages - 1)


def resnet_trunk(
    resnet: ResNetName, stages: int, stem: str, norm: str, in_channels: int
) -> tuple[nn.Sequential, int]:
    """Returns torchvision's ResNet up to the end of stage `stages`, and the width of what it gives. With
    `stem="small"` a 3 x 3 convolution of stride 1 stands in for the 7 x 7 one of stride 2 and its pooling."""
    block, num_blocks = TRUNKS[resnet]
    if not 1 <= stages <= len(num_blocks):
        raise ValueError(f"patch_embed.stages={stages}: {resnet} has the stages 1 to {len(num_blocks)}")
    kept = [*num_blocks[:stages], *[1] * (4 - stages)]  # the others are built small, and left behind
    whole = ResNet(block, kept, num_classes=1, norm_layer=NORMS[norm])
    if stem == "small":
        whole.conv1 = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1, bias=False)
    elif in_channels != 3:
        whole.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")
    names = [
        "conv1",
        "bn1",
        "relu",
        *(["maxpool"] if stem == "imagenet" else []),
        *(f"layer{stage + 1}" for stage in range(stages)),
    ]
    trunk = nn.Sequential()
    for name in names:
        trunk.add_module(name, getattr(whole, name))
    trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return trunk, 64 * 2 ** (stages - 1) * block.expansion


def _stages_that_fit(resnet: ResNetName, stem: str, fits: Callable[[int], bool]) -> str:
    """Returns the end of a complaint: the numbers of stages whose stride would fit."""
    stages = [
        str(number) for number in range(1, len(TRUNKS[resnet][1]) + 1) if fits(trunk_stride(stem, number))
    ]
    return (
        f"; patch_embed.stages={' or '.join(stages)} would work"
        if stages
        else "; with patch_embed.stem=small more would fit"
    )


class ResNetStage(PatchEmbed):
    """The paper's hybrid: tokens are cells of a ResNet's feature map of the whole image (Dosovitskiy et al.
    2021, section 3.1).

    The trunk ends after stage `stages`. The last projection makes up for a stride below `patch_size`: 2,
    where the trunk's stride is 8 and `patch_size` 16. `norm` is "group" for training from scratch, "batch"
    (with fixed statistics) for pretrained weights.
    """

    def __init__(
        self,
        patch_size: int,
        in_channels: int,
        embed_dim: int,
        resnet: ResNetName,
        stages: int,
        stem: Literal["small", "imagenet"],
        norm: Literal["group", "batch"],
    ):
        super().__init__(patch_size, embed_dim)
        self.trunk, width = resnet_trunk(resnet, stages, stem, norm, in_channels)
        stride = trunk_stride(stem, stages)
        if patch_size < stride or patch_size % stride:
            raise ValueError(
                f"patch_embed=resnet_stage: {stages} stages after stem={stem} have a stride of {stride}, no"
                f" divisor of {patch_size=}"
                + _stages_that_fit(resnet, stem, lambda stride: patch_size % stride == 0)
            )
        self.proj = nn.Conv2d(width, embed_dim, kernel_size=patch_size // stride, stride=patch_size // stride)

    def forward(self, images: Images) -> Tokens:
        images = images.contiguous(memory_format=torch.channels_last)
        return self.proj(self.trunk(images)).flatten(2).transpose(1, 2)


class PatchResNet(PatchEmbed):
    """The ResNet-patch hybrid: each patch goes through the ResNet alone, and the mean of its last feature map
    becomes the token.

    Patches are first resized to `trunk_size` pixels a side (None: they stay as they are). At most
    `chunk_size` patches are in the trunk at once. Training computes the activations of each chunk again in
    the backward pass, which bounds memory. `norm` is "group" for training from scratch, "batch" (with fixed
    statistics) for pretrained weights.
    """

    def __init__(
        self,
        patch_size: int,
        in_channels: int,
        embed_dim: int,
        resnet: ResNetName,
        stages: int,
        stem: Literal["small", "imagenet"],
        norm: Literal["group", "batch"],
        trunk_size: int | None,
        chunk_size: int,
    ):
        super().__init__(patch_size, embed_dim)
        if chunk_size < 1 or (trunk_size is not None and trunk_size < 1):
            raise ValueError(
                f"patch_embed.chunk_size={chunk_size} and patch_embed.trunk_size={trunk_size} must be at"
                " least 1"
            )
        side, stride = trunk_size or patch_size, trunk_stride(stem, stages)
        if side < stride:
            raise ValueError(
                f"patch_embed=patch_resnet: {stages} stages after stem={stem} have a stride of {stride} px,"
                f" more than a patch of {side}"
                + _stages_that_fit(resnet, stem, lambda stride: stride <= side)
            )
        self.trunk_size = trunk_size
        self.chunk_size = chunk_size
        self.trunk, width = resnet_trunk(resnet, stages, stem, norm, in_channels)
        self.proj = nn.Linear(width, embed_dim)

    def embed_patches(self, patches: Patches) -> Features:
        """Returns a vector for each patch."""
        if self.trunk_size is not None and self.trunk_size != self.patch_size:
            patches = F.interpolate(patches, self.trunk_size, mode="bilinear", antialias=True)
        return self.proj(self.trunk(patches.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3)))

    def _embed_in_chunks(self, patches: Patches) -> Tensor:
        if len(patches) <= self.chunk_size:
            return self.embed_patches(patches)
        chunks = patches.split(self.chunk_size)
        if not torch.is_grad_enabled():
            return torch.cat([self.embed_patches(chunk) for chunk in chunks])
        return torch.cat(
            [
                checkpoint(self.embed_patches, chunk, use_reentrant=False, preserve_rng_state=False)
                for chunk in chunks
            ]
        )

    def forward(self, images: Images) -> Tokens:
        batch, channels = images.shape[:2]
        rows, columns = patch_grid((images.shape[2], images.shape[3]), self.patch_size)
        patches = images.unflatten(3, (columns, self.patch_size)).unflatten(2, (rows, self.patch_size))
        # [B * N, C, p, p]
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, self.patch_size, self.patch_size)
        # a graph has no number of chunks
        embed = self.embed_patches if torch.compiler.is_exporting() else self._embed_in_chunks
        return embed(patches).unflatten(0, (batch, rows * columns))
