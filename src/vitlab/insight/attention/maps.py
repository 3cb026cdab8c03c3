"""Whole attention maps of a model, one layer at a time, within bounds of memory."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vitlab.insight.attention.capture import Layer, record
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.views.anatomy import TokenLayout, View
from vitlab.insight.views.view_of import view_for
from vitlab.models.kernels import plain_products
from vitlab.shapes import AttentionMap, Features, Images, Logits

MIB = 2**20

WORKING_BYTES = 64 * MIB
"""What a layer may take (scores, probabilities, MLP); batches are cut so that it takes no more."""


class AttentionMaps(NamedTuple):
    """Probabilities [layers, batch, heads, queries, tokens] in float32 on the CPU, and the logits of the same
    forward pass. With query="readout" there is one query: what the head reads. A model without a head gives,
    in place of logits, the features that a head would read."""

    maps: AttentionMap
    logits: Logits | Features
    layout: TokenLayout


def map_bytes(view: View, layout: TokenLayout, num_queries: int) -> int:
    """Returns how many bytes the maps of all layers take for one image."""
    return 4 * sum(taps.num_heads for taps in view.attentions) * num_queries * layout.num_tokens


def chunk_size(view: View, layout: TokenLayout) -> int:
    """Returns how many images may run at once within WORKING_BYTES."""
    probabilities = map_bytes(view, layout, layout.num_tokens) // len(view.attentions)
    widest = max(
        module.out_features
        for block in view.blocks
        for module in block.modules()
        if isinstance(module, nn.Linear)
    )
    hidden = 2 * 4 * layout.num_tokens * widest  # before and after the activation function
    return max(1, WORKING_BYTES // (2 * probabilities + hidden))


def logits_in_chunks(view: View, images: Images) -> Logits | Features:
    """Returns the model's logits for the images, computed within WORKING_BYTES."""
    return torch.cat(
        [view.logits(chunk) for chunk in images.clone().split(chunk_size(view, view.layout(images)))]
    )


def _refuse_if_too_large(
    view: View, layout: TokenLayout, num_images: int, num_queries: int, max_bytes: int
) -> None:
    per_image = map_bytes(view, layout, num_queries)
    if num_images * per_image <= max_bytes:
        return
    ways = [f"max_bytes={num_images * per_image}"]
    if max_bytes >= per_image:
        ways.insert(0, f"at most {max_bytes // per_image} images at once")
    if num_queries > 1 and num_images * map_bytes(view, layout, 1) <= max_bytes:
        ways.insert(0, 'query="readout"')
    size = f"{num_images * per_image / MIB:.1f} MiB, more than max_bytes={max_bytes}"
    raise ValueError(f"attention maps of {num_images} images take {size}; {' or '.join(ways)} would work")


def attention_maps(
    model: nn.Module | View,
    images: Images,
    query: Literal["all", "readout"] = "all",
    max_bytes: int = 256 * MIB,
) -> AttentionMaps:
    """Returns the attention of every layer: of all queries, or with query="readout" of what the head reads (a
    class token's row, or the mean over patches).

    On the processor our own models run by plain products here, whose probabilities are recorded as they are.
    Elsewhere probabilities are the softmax of what the fused kernel saw. Raises ValueError where the result
    would take more than `max_bytes`, before anything is computed.
    """
    if query not in ("all", "readout"):
        raise ValueError(f"query={query!r} is neither 'all' nor 'readout'")
    view = view_for(model, images)
    with looked_at(view.model), torch.no_grad():
        layout = view.layout(images)
        num_queries = layout.num_tokens if query == "all" else 1
        _refuse_if_too_large(view, layout, len(images), num_queries, max_bytes)
        weights = layout.readout().to(images.device)
        read = weights.nonzero()[:, 0]
        shares = weights[read]
        shape = (
            len(view.attentions),
            len(images),
            view.attentions[0].num_heads,
            num_queries,
            layout.num_tokens,
        )
        # NumPy asks for huge pages: getting the others costs 3 % of a forward pass
        maps = torch.from_numpy(np.empty(shape, np.float32))
        logits: list[Tensor] = []
        start = 0

        def visit(index: int, layer: Layer) -> None:
            place = maps[index, start : start + len(layer.q)]
            if query == "readout":
                with torch.autocast(images.device.type, enabled=False):
                    place.copy_(shares[None] @ layer.probabilities(read))
            elif maps.device == layer.q.device:
                layer.probabilities(into=place)
            else:
                place.copy_(layer.probabilities())

        with record(view, visit), plain_products():
            for chunk in images.split(chunk_size(view, layout)):
                logits.append(view.run(chunk))
                start += len(chunk)
    return AttentionMaps(maps, torch.cat(logits).cpu(), layout)
