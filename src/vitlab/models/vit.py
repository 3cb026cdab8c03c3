"""The Vision Transformer: patch embedding, prefix tokens, positions, encoder blocks, pooling, head.

"An Image is Worth 16x16 Words" (Dosovitskiy et al. 2021, arXiv:2010.11929). Arguments and state-dict names
are timm's, so a plain ViT loads a timm state dict strictly and gives the same logits.
"""

from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vitlab.models.encoder import Block, Mlp
from vitlab.models.patch_embed import PatchEmbed, patch_grid
from vitlab.models.positions import Grid, resize_positions, sincos_2d, sinusoidal_1d
from vitlab.shapes import AllTokens, Features, Images, KeptPatches, Logits, ReadTokens, Tokens


class VisionTransformer(nn.Module):
    """Maps images to class logits.

    `image_size` is [height, width] or one number for both; at run time, images of another size interpolate
    the positions. Rates are probabilities from 0 to below 1. `drop_path_rate` grows linearly over the blocks
    up to its value: with 0.2, three blocks have 0, 0.1 and 0.2. `init_values` switches layer scale on.
    `no_embed_class` adds learned positions to the patch tokens only, as fixed positions always are.

    `grad_checkpointing` saves memory in training: only what enters a block is kept, and the backward pass
    computes the block again (Chen et al. 2016, arXiv:1604.06174).
    """

    def __init__(
        self,
        patch_embed: PatchEmbed,
        image_size: int | list[int] | tuple[int, int],
        num_classes: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        ffn: Literal["mlp", "dwconv"] = "mlp",
        qkv_bias: bool = True,
        qk_norm: bool = False,
        init_values: float | None = None,
        class_token: bool = True,
        reg_tokens: int = 0,
        pos_embed: Literal["learn", "sincos_2d", "sinusoidal_1d", "none"] = "learn",
        no_embed_class: bool = False,
        global_pool: Literal["token", "avg"] = "token",
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_eps: float = 1e-6,
        zero_head: bool = False,
        grad_checkpointing: bool = False,
    ):
        super().__init__()
        rates = dict(
            drop=drop_rate,
            pos_drop=pos_drop_rate,
            proj_drop=proj_drop_rate,
            attn_drop=attn_drop_rate,
            drop_path=drop_path_rate,
        )
        for name, rate in rates.items():
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"model.{name}_rate={rate} is not a probability; 0 to below 1 would work")
        if min(embed_dim, depth, num_heads, num_classes) < 1:
            raise ValueError(
                f"model: {embed_dim=}, {depth=}, {num_heads=} and {num_classes=} must each be at least 1"
            )
        if mlp_ratio * embed_dim < 1:
            raise ValueError(f"model.mlp_ratio={mlp_ratio} leaves the MLP no channel; 4.0 is usual")
        if reg_tokens < 0:
            raise ValueError(f"model.reg_tokens={reg_tokens} must be 0 or more")
        if embed_dim % num_heads:
            divisors = [n for n in range(1, min(embed_dim, 64) + 1) if embed_dim % n == 0]
            raise ValueError(
                f"model.num_heads={num_heads} does not divide model.embed_dim={embed_dim}; what does:"
                f" {divisors}"
            )
        if not isinstance(patch_embed, PatchEmbed):
            raise ValueError(
                f"patch_embed: a {type(patch_embed).__name__} is no patch embedding; a PatchEmbed would work"
            )
        if patch_embed.embed_dim != embed_dim:
            raise ValueError(
                f"patch_embed.embed_dim={patch_embed.embed_dim} differs from model.embed_dim={embed_dim};"
                " make them equal"
            )
        if global_pool == "token" and not class_token:
            raise ValueError(
                "model.global_pool=token needs model.class_token=true; without a class token use"
                " model.global_pool=avg"
            )
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.image_size: tuple[int, int] = (size[0], size[1])
        self.num_classes = num_classes
        self.embed_dim = embed_dim
        self.global_pool: Literal["token", "avg"] = global_pool
        self.grad_checkpointing = grad_checkpointing
        self.patch_embed = patch_embed
        self.grid = patch_grid(self.image_size, patch_embed.patch_size)
        self.num_prefix_tokens = int(class_token) + reg_tokens

        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self.reg_token = nn.Parameter(torch.zeros(1, reg_tokens, embed_dim)) if reg_tokens else None
        num_patches = self.grid[0] * self.grid[1]
        self.positions_on_prefix = pos_embed == "learn" and not no_embed_class
        if pos_embed == "learn":
            num_positions = num_patches + (self.num_prefix_tokens if self.positions_on_prefix else 0)
            self.pos_embed = nn.Parameter(torch.zeros(1, num_positions, embed_dim))
        elif pos_embed == "none":
            self.pos_embed = None
        else:
            table = (
                sincos_2d(self.grid, embed_dim)
                if pos_embed == "sincos_2d"
                else sinusoidal_1d(num_patches, embed_dim)
            )
            self.register_buffer("pos_embed", table, persistent=False)
        self.pos_drop = nn.Dropout(pos_drop_rate)

        self.blocks = nn.ModuleList(
            [
                Block(
                    embed_dim,
                    num_heads,
                    mlp_ratio,
                    ffn,
                    qkv_bias,
                    qk_norm,
                    init_values,
                    attn_drop=attn_drop_rate,
                    proj_drop=proj_drop_rate,
                    drop_path=drop_path_rate * index / max(depth - 1, 1),
                    norm_eps=norm_eps,
                )
                for index in range(depth)
            ]
        )
        # timm's rule: the last norm stands before class-token pooling, but after mean pooling
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps) if global_pool == "token" else nn.Identity()
        self.fc_norm = nn.LayerNorm(embed_dim, eps=norm_eps) if global_pool == "avg" else nn.Identity()
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(embed_dim, num_classes)
        self._initialise(zero_head)

    def _initialise(self, zero_head: bool) -> None:
        """Draws the weights as timm does; `normal 0.02` is a truncated normal of that standard deviation.

        patch_embed                 as the patch embedding itself draws them
        cls_token, reg_token        normal 1e-6, so that they start as good as zero
        pos_embed, learned          normal 0.02
        blocks: qkv, proj, fc1, fc2 normal 0.02, biases 0
        blocks: depthwise filters   as torch draws them
        blocks: layer scale         init_values
        norms                       1, biases 0
        head                        normal 0.02, or 0 with zero_head; bias 0
        """
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        if zero_head:
            nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if isinstance(self.pos_embed, nn.Parameter):
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for prefix in (self.cls_token, self.reg_token):
            if prefix is not None:
                nn.init.normal_(prefix, std=1e-6)

    def _add_prefix(self, tokens: Tokens) -> AllTokens:
        prefix = [
            token.expand(tokens.shape[0], -1, -1)
            for token in (self.cls_token, self.reg_token)
            if token is not None
        ]
        return torch.cat([*prefix, tokens], dim=1) if prefix else tokens

    def grid_of(self, images: Images) -> Grid:
        """Returns rows and columns of patches of these images, whose size may differ from `image_size`."""
        height, width = images.shape[-2:]
        return (
            self.grid
            if (height, width) == self.image_size
            else patch_grid((height, width), self.patch_embed.patch_size)
        )

    def embed(self, images: Images) -> AllTokens:
        """Returns what enters the first block: prefix tokens and patch tokens with their positions."""
        grid = self.grid_of(images)
        tokens = self.patch_embed(images)
        if self.pos_embed is None:
            return self._add_prefix(tokens)
        num_prefix_positions = self.num_prefix_tokens if self.positions_on_prefix else 0
        positions = resize_positions(self.pos_embed, self.grid, grid, num_prefix_positions)
        if self.positions_on_prefix:
            return self.pos_drop(self._add_prefix(tokens) + positions)
        return self.pos_drop(self._add_prefix(tokens + positions))

    def _run_block(self, block: nn.Module, *inputs: Any) -> ReadTokens:
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)

    def encode(
        self, tokens: AllTokens, grid: Grid, kept: KeptPatches | None = None, num_read: int | None = None
    ) -> ReadTokens:
        """Sends tokens of `embed` through the blocks and the last norm. `kept` says which patches the patch
        tokens are; None means all of them. `num_read` asks the last block for the first tokens alone: 1 is
        the class token."""
        *earlier, last = self.blocks
        for block in earlier:
            tokens = self._run_block(block, tokens, grid, kept)
        return self.norm(self._run_block(last, tokens, grid, kept, num_read))

    def forward_features(self, images: Images) -> AllTokens:
        """Returns the last block's tokens, prefix tokens first."""
        return self.encode(self.embed(images), self.grid_of(images))

    def forward_head(self, tokens: ReadTokens, pre_logits: bool = False) -> Logits | Features:
        """Pools tokens and returns logits, or with `pre_logits` the features that the head would see."""
        pooled = (
            tokens[:, 0] if self.global_pool == "token" else tokens[:, self.num_prefix_tokens :].mean(dim=1)
        )
        features = self.head_drop(self.fc_norm(pooled))
        return features if pre_logits else self.head(features)

    def forward(self, images: Images) -> Logits:
        # A head that reads the class token alone needs no other token's projection and MLP from the last
        # block: 6 % of twelve blocks.
        num_read = 1 if self.global_pool == "token" and type(self.blocks[-1].mlp) is Mlp else None
        return self.forward_head(self.encode(self.embed(images), self.grid_of(images), num_read=num_read))
