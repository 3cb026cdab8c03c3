"""Small models of every kind with weights that matter, and what a checkpoint would tell of them."""

import pytest
import torch
from torch import nn

from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

NAMES = ["ash", "birch", "cedar", "fir", "oak"]


@pytest.fixture
def make_model():
    """Builds a ViT whose every parameter and statistic is random."""

    def make(patch_embed=None, image_size=32, embed_dim=64, in_channels=3, depth=2, **options):
        torch.manual_seed(0)
        patch_embed = patch_embed or LinearPatchEmbed(8, in_channels, embed_dim)
        model = VisionTransformer(patch_embed, image_size, len(NAMES), embed_dim, depth, num_heads=4, **options)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
        return model.eval()

    return make


@pytest.fixture
def make_card():
    """Returns what a checkpoint keeps under "vitlab", as far as an export reads it."""

    def make(image_size=(32, 32), stored_size=None, in_channels=3, **preprocessing):
        facts = {
            "stored_size": list(stored_size or image_size),
            "image_size": list(image_size),
            "in_channels": in_channels,
            "mean": [0.5, 0.4, 0.3][:in_channels],
            "std": [0.2, 0.25, 0.3][:in_channels],
        }
        config = {"name": "trees", "model": {"_target_": "vitlab.models.vit.VisionTransformer"}}
        return {"class_names": NAMES, "preprocessing": facts | preprocessing, "config": config}

    return make
