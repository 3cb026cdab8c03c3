"""Position embeddings as tables [1, rows * columns, embed_dim], and how one moves to another grid."""

import torch
import torch.nn.functional as F

from vitlab.shapes import PositionTable, ResizedPositionTable

Grid = tuple[int, int]
"""Rows and columns of patches."""

TEMPERATURE = 10_000.0
"""The ratio of the longest wavelength to the shortest, in both papers."""


def sinusoidal_1d(num_tokens: int, embed_dim: int) -> PositionTable:
    """Returns the table of Vaswani et al. 2017, section 3.5: sines at even indices, cosines at odd."""
    if embed_dim % 2:
        raise ValueError(f"model.pos_embed=sinusoidal_1d needs an even embed_dim, got {embed_dim}")
    frequencies = TEMPERATURE ** -(torch.arange(0, embed_dim, 2, dtype=torch.float64) / embed_dim)
    angles = torch.arange(num_tokens, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None].float()


def sincos_2d(grid: Grid, embed_dim: int) -> PositionTable:
    """Returns the 2-D table of Beyer et al. 2022: sine and cosine of column, then of row."""
    if embed_dim % 4:
        raise ValueError(f"model.pos_embed=sincos_2d needs an embed_dim divisible by 4, got {embed_dim}")
    quarter = embed_dim // 4
    frequencies = TEMPERATURE ** -(
        torch.arange(quarter, dtype=torch.float64) / (quarter - 1 if quarter > 1 else 1)
    )
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    row_angles = rows.flatten()[:, None] * frequencies
    column_angles = columns.flatten()[:, None] * frequencies
    table = torch.cat([column_angles.sin(), column_angles.cos(), row_angles.sin(), row_angles.cos()], dim=1)
    return table[None].float()


def resize_positions(
    table: PositionTable, old: Grid, new: Grid, num_prefix_tokens: int = 0
) -> ResizedPositionTable:
    """Returns the table interpolated to the new grid (bicubic, antialiased), without prefix tokens."""
    if old == new:
        return table
    prefix, patches = table[:, :num_prefix_tokens], table[:, num_prefix_tokens:]
    picture = patches.float().reshape(1, *old, -1).permute(0, 3, 1, 2)  # [1, D, rows, columns]
    picture = F.interpolate(picture, size=new, mode="bicubic", antialias=True)
    patches = picture.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)
    return torch.cat([prefix, patches], dim=1)
