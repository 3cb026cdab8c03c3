"""Attention of all layers, heads and queries in few bytes, for a page without a server."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from vitlab.insight.attention.capture import Layer, record
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.views.anatomy import TokenLayout, View
from vitlab.insight.views.view_of import view_of
from vitlab.shapes import Images

MAX_BYTES = 6_000_000
"""Room for every layer and head of a ViT-B/16 at 224 px, which takes 5.6 million."""


class PackedAttention(NamedTuple):
    """Attention [layers, heads, queries, tokens] is `levels` / 255 times `scales`; query 0 is what the head
    reads, then come the patches. `layers` counts from 1; where `averaged`, the one head is the mean of all.
    `left_out` says what had no room, in words."""

    levels: UInt8[np.ndarray, "layers heads queries tokens"]
    scales: Float32[np.ndarray, "layers heads queries"]
    layers: list[int]
    averaged: bool
    left_out: str
    layout: TokenLayout


class Room(NamedTuple):
    """Which layers (from 0) are kept, whether heads are averaged, whether every patch is a query."""

    layers: list[int]
    averaged: bool
    all_queries: bool


def plan(num_layers: int, num_heads: int, num_patches: int, num_tokens: int, max_bytes: int) -> Room:
    """Returns what fits: first heads are averaged, then layers left out, then the patches' rows."""
    layer_bytes = (1 + num_patches) * num_tokens
    if num_layers * num_heads * layer_bytes <= max_bytes:
        return Room(list(range(num_layers)), averaged=False, all_queries=True)
    kept = min(num_layers, max_bytes // layer_bytes)
    if kept == 0:
        return Room(list(range(num_layers)), averaged=False, all_queries=False)
    layers = sorted({num_layers - 1 - round(index * num_layers / kept) for index in range(kept)})
    return Room(layers, averaged=num_heads > 1, all_queries=True)


def _left_out(room: Room, num_layers: int, max_bytes: int) -> str:
    parts = []
    if room.averaged:
        parts.append("single heads (their mean is shown)")
    if missing := [str(layer + 1) for layer in range(num_layers) if layer not in room.layers]:
        parts.append(f"layers {', '.join(missing)}")
    if not room.all_queries:
        parts.append("the attention of single patches")
    size = f"{max_bytes / 1e6:.0f} MB of attention"
    return f"Left out to keep the page within {size}: {' and '.join(parts)}." if parts else ""


def pack_attention(model: nn.Module | View, image: Images, max_bytes: int = MAX_BYTES) -> PackedAttention:
    """Returns the attention of a batch of one; a value is off by at most 1/510 of its row's largest."""
    view = view_of(model)
    layout = view.layout(image)
    num_patches = layout.grid[0] * layout.grid[1]
    num_layers = len(view.attentions)
    room = plan(num_layers, view.attentions[0].num_heads, num_patches, layout.num_tokens, max_bytes)
    levels: list[np.ndarray] = []
    scales: list[np.ndarray] = []
    readout = layout.readout().to(image.device)

    def visit(index: int, layer: Layer) -> None:
        if index not in room.layers:
            return
        attention = layer.probabilities()[0]
        if room.averaged:
            attention = attention.mean(dim=0, keepdim=True)
        rows = (readout @ attention)[:, None]
        if room.all_queries:
            rows = torch.cat([rows, attention[:, layout.num_prefix_tokens :]], dim=1)
        largest = rows.amax(dim=-1)
        levels.append((rows / largest[..., None] * 255).round().byte().cpu().numpy())
        scales.append(largest.float().cpu().numpy())

    with looked_at(view.model), torch.no_grad(), record(view, visit):
        view.logits(image)
    layers, left_out = [layer + 1 for layer in room.layers], _left_out(room, num_layers, max_bytes)
    return PackedAttention(np.stack(levels), np.stack(scales), layers, room.averaged, left_out, layout)
