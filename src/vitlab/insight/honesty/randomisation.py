"""Does a map depend on what was learnt? Weights are destroyed from the head down, to see it go."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn

from vitlab.insight.attention.maps import logits_in_chunks
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.explain import explain
from vitlab.insight.honesty.likeness import similarity
from vitlab.insight.views.anatomy import View
from vitlab.insight.views.view_of import view_of
from vitlab.randomness import generator_at
from vitlab.shapes import Images

NUM_IMAGES = 16
"""About so many are enough, and each is explained once more for every layer that is destroyed."""


def _stages(view: View) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Yields the parameters of the head, of each block from the last, and of what lies before."""
    named = list(view.model.named_parameters())
    of_block = {
        id(parameter): index for index, block in enumerate(view.blocks) for parameter in block.parameters()
    }
    places = [index for index, (_, parameter) in enumerate(named) if id(parameter) in of_block]
    # modules stand in the order of the forward pass
    yield (
        "head",
        [parameter for _, parameter in named[places[-1] + 1 :]],
    )
    for index in reversed(range(len(view.blocks))):
        yield f"blocks.{index}", list(view.blocks[index].parameters())
    yield "embedding", [parameter for _, parameter in named[: places[0]]]


def randomisation_cascade(
    model: nn.Module | View, images: Images, method: str, seed: int = 0
) -> dict[str, float]:
    """Returns the rank correlation with the model's own maps after each stage, mean over images. Stages add
    up from the head down.

    "Sanity Checks for Saliency Maps" (Adebayo et al. 2018, arXiv:1810.03292), on a copy, for the class that
    the intact model predicts. A parameter is destroyed by shuffling its values, which keeps their scale; so
    it works for any library's model.
    """
    view = view_of(deepcopy(view_of(model).model))
    with looked_at(view.model), torch.no_grad():
        target = logits_in_chunks(view, images).argmax(dim=1)
        intact = explain(view, images, method, target)
        correlations = {}
        for stage, parameters in _stages(view):
            for index, parameter in enumerate(parameters):
                shuffle = torch.randperm(
                    parameter.numel(), generator=generator_at(seed, "shuffle", stage, index)
                ).to(parameter.device)
                parameter.copy_(parameter.flatten()[shuffle].view_as(parameter))
            correlations[stage] = similarity(intact, explain(view, images, method, target)).mean().item()
    return correlations
