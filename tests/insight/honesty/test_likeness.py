"""Correlations of maps against SciPy's, templates against unrelated maps, and maps that ask for a class
against those that do not."""

import pytest
import scipy.stats
import torch
from torch import nn

from vitlab.insight.explain import explain
from vitlab.insight.honesty.likeness import class_sensitivity, image_specificity, similarity
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def make_vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(LinearPatchEmbed(4, 1, 8), (16, 12), 3, embed_dim=8, depth=2, num_heads=2).eval()


def test_rank_correlation_is_scipys():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randint(0, 5, (4, 3, 5), generator=generator) / 12 for _ in range(2))  # with ties
    expected = [
        scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(one, other, strict=True)
    ]
    torch.testing.assert_close(
        similarity(one, other), torch.tensor(expected, dtype=torch.float32), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(similarity(one[:1], one[:1] ** 3), torch.ones(1), rtol=1e-4, atol=1e-4)
    assert similarity(one, torch.full_like(one, 1 / 15)).abs().max() < 1e-4


def test_specificity_is_zero_for_a_template_and_one_for_unrelated_maps():
    generator = torch.Generator().manual_seed(0)
    template = torch.rand(1, 8, 8, generator=generator).expand(20, -1, -1)
    assert image_specificity(template) == pytest.approx(0.0, abs=1e-6)
    assert image_specificity(torch.full((3, 4, 4), 1 / 16)) == pytest.approx(0.0, abs=1e-6)
    assert image_specificity(torch.rand(200, 8, 8, generator=generator)) == pytest.approx(1.0, abs=0.05)


def test_only_maps_of_class_specific_methods_differ_between_classes():
    model, images = make_vit(), torch.randn(6, 1, 16, 12, generator=torch.Generator().manual_seed(4))
    assert class_sensitivity(model, images, "rollout") == 1.0
    first, second = model(images).topk(2, dim=1).indices.unbind(dim=1)
    maps = [explain(model, images, "relevance", target) for target in (first, second)]
    expected = [scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(*maps, strict=True)]
    assert class_sensitivity(model, images, "relevance") == pytest.approx(sum(expected) / 6, abs=1e-4)


def test_a_model_of_one_class_is_sensitive_to_none():
    model = make_vit()
    model.head = nn.Linear(8, 1)
    assert class_sensitivity(model, torch.randn(2, 1, 16, 12), "relevance") == 1.0


def test_specificity_of_one_map_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        image_specificity(torch.rand(1, 4, 4))
