"""Destroying a copy from the head down: maps follow, the model does not."""

import pytest
import timm
import torch
from torch import nn

from vitlab.insight.honesty.randomisation import randomisation_cascade
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


@pytest.fixture(params=["vitlab", "timm"])
def model(request):
    torch.manual_seed(0)
    if request.param == "timm":
        model = timm.models.VisionTransformer(
            img_size=24, patch_size=4, num_classes=5, embed_dim=16, depth=2, num_heads=2
        )
    else:
        model = VisionTransformer(LinearPatchEmbed(4, 3, 16), 24, 5, embed_dim=16, depth=2, num_heads=2)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.4)
    return model.eval()


def test_maps_go_with_the_weights_from_the_head_down_and_the_model_stays(model):
    images = torch.randn(40, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    relevance, rollout = (randomisation_cascade(model, images, method) for method in ("relevance", "rollout"))
    assert list(relevance) == ["head", "blocks.1", "blocks.0", "embedding"]
    assert rollout["head"] == pytest.approx(1.0, abs=1e-4)  # attention does not see the head
    assert relevance["head"] < 0.9
    assert 0.4 < rollout["blocks.1"] < 0.99  # one layer of two is left
    assert max(abs(correlations["embedding"]) for correlations in (relevance, rollout)) < 0.3
    assert (
        relevance
        == randomisation_cascade(model, images, "relevance")
        != randomisation_cascade(model, images, "relevance", seed=1)
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
