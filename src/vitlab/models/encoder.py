"""The encoder block of a ViT and its parts, named as timm names them."""

from typing import Literal

import torch
from torch import nn

from vitlab.models.kernels import attend
from vitlab.models.positions import Grid
from vitlab.shapes import KeptPatches, ReadTokens, Tokens


class DropPath(nn.Module):
    """Drops a residual branch with `drop_prob` for whole samples (Huang et al. 2016, arXiv:1603.09382)."""

    def __init__(self, drop_prob: float):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tokens) -> Tokens:
        if not self.training or self.drop_prob == 0.0:
            return x
        keep_prob = 1.0 - self.drop_prob
        kept = x.new_empty(x.shape[0], 1, 1).bernoulli_(keep_prob)
        return x * kept / keep_prob


class LayerScale(nn.Module):
    """A learned factor for each channel of a residual branch, LayerScale (Touvron et al. 2021)."""

    def __init__(self, embed_dim: int, init_values: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((embed_dim,), init_values))

    def forward(self, x: Tokens) -> Tokens:
        return x * self.gamma


class Attention(nn.Module):
    """Multi-head self-attention; `qk_norm` normalises queries and keys (Dehghani et al. 2023,
    arXiv:2302.05442).

    `num_read` asks for the results of the first tokens alone: 1 is the class token's. The taps are
    identities; hooks on them see exactly what the attention kernel takes and gives
    (`vitlab.insight.attention.capture`).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        qkv_bias: bool,
        qk_norm: bool,
        attn_drop: float,
        proj_drop: float,
        norm_eps: float,
    ):
        super().__init__()
        self.num_heads = num_heads
        head_dim = embed_dim // num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        self.q_norm = nn.LayerNorm(head_dim, eps=norm_eps) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(head_dim, eps=norm_eps) if qk_norm else nn.Identity()
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(proj_drop)
        self.tap_q, self.tap_k, self.tap_v, self.tap_weights, self.tap_out = (nn.Identity() for _ in range(5))

    def forward(self, x: Tokens, num_read: int | None = None) -> ReadTokens:
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, N, head_dim] each
        q, k, v = self.tap_q(self.q_norm(q)), self.tap_k(self.k_norm(k)), self.tap_v(v)
        out = self.tap_out(attend(q, k, v, self.attn_drop.p if self.training else 0.0, self.tap_weights))
        out = out.transpose(1, 2)[:, :num_read].flatten(2)
        return self.proj_drop(self.proj(out))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, embed_dim: int, hidden_dim: int, drop: float):
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(drop)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)
        self.drop2 = nn.Dropout(drop)

    def mix(self, hidden: Tokens, grid: Grid, kept: KeptPatches | None) -> Tokens:
        """What happens between tokens, which in a plain MLP is nothing."""
        return hidden

    def forward(self, x: Tokens, grid: Grid, kept: KeptPatches | None = None) -> Tokens:
        return self.drop2(self.fc2(self.drop1(self.mix(self.act(self.fc1(x)), grid, kept))))


class DepthwiseConvMlp(Mlp):
    """An MLP whose hidden patch tokens also see their eight neighbours, each channel by its own 3 x 3 filter.

    The convolution and its shortcut are those of the feed-forward part of DHVT (Lu et al. 2022,
    arXiv:2210.05958). Prefix tokens skip the convolution. A patch that is not `kept` counts as zeros to its
    neighbours, like what lies beyond the border.
    """

    def __init__(self, embed_dim: int, hidden_dim: int, drop: float):
        super().__init__(embed_dim, hidden_dim, drop)
        self.dwconv = nn.Conv2d(hidden_dim, hidden_dim, kernel_size=3, padding=1, groups=hidden_dim)
        self.dwconv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def mix(self, hidden: Tokens, grid: Grid, kept: KeptPatches | None) -> Tokens:
        num_patches = grid[0] * grid[1]
        num_prefix_tokens = hidden.shape[1] - (num_patches if kept is None else kept.shape[1])
        prefix, patches = hidden[:, :num_prefix_tokens], hidden[:, num_prefix_tokens:]
        index = None if kept is None else kept[..., None].expand_as(patches)
        whole = (
            patches
            if index is None
            else patches.new_zeros(len(patches), num_patches, patches.shape[2]).scatter(1, index, patches)
        )
        # [B, hidden, rows, columns], channels last in memory
        picture = whole.unflatten(1, grid).permute(0, 3, 1, 2)
        around = self.act(self.dwconv(picture)).permute(0, 2, 3, 1).flatten(1, 2)
        around = around if index is None else around.gather(1, index)
        mixed = patches + around
        return torch.cat([prefix, mixed], dim=1) if num_prefix_tokens else mixed


FFN = {"mlp": Mlp, "dwconv": DepthwiseConvMlp}


class Block(nn.Module):
    """A pre-norm block: attention, then MLP, each added; `num_read` asks for the first tokens alone."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float,
        ffn: Literal["mlp", "dwconv"],
        qkv_bias: bool,
        qk_norm: bool,
        init_values: float | None,
        attn_drop: float,
        proj_drop: float,
        drop_path: float,
        norm_eps: float,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.attn = Attention(embed_dim, num_heads, qkv_bias, qk_norm, attn_drop, proj_drop, norm_eps)
        self.ls1 = LayerScale(embed_dim, init_values) if init_values is not None else nn.Identity()
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.mlp = FFN[ffn](embed_dim, int(embed_dim * mlp_ratio), proj_drop)
        self.ls2 = LayerScale(embed_dim, init_values) if init_values is not None else nn.Identity()
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self, x: Tokens, grid: Grid, kept: KeptPatches | None = None, num_read: int | None = None
    ) -> ReadTokens:
        x = x[:, :num_read] + self.drop_path1(self.ls1(self.attn(self.norm1(x), num_read)))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x), grid, kept)))
