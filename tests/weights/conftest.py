"""Random weights that leave nothing at zero or one, and the vitlab model that a file of weights describes."""

import pytest
import torch

from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def _randomise(model):
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.is_floating_point():
            value.normal_(std=0.2, generator=generator)
    return model.eval()


def _model_for(weights, num_classes=7, in_channels=3, **changes):
    facts = dict(weights.architecture) | changes
    patch_embed = LinearPatchEmbed(facts.pop("patch_size"), in_channels, facts["embed_dim"])
    return VisionTransformer(patch_embed, num_classes=num_classes, **facts).eval()


@pytest.fixture(scope="session")
def randomise():
    """Draws every tensor of a model anew, so that none can be mistaken for another one."""
    return _randomise


@pytest.fixture(scope="session")
def model_for():
    """Builds the vitlab model that `Pretrained` weights describe, but for the changes."""
    return _model_for
