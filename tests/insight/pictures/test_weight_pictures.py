"""What is shown of weights and features is what linear algebra says of them."""

import pytest
import torch

from vitlab.gallery.weight_pictures import aligned, input_filters, position_similarity, principal_components
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def model_of(patch_embed, size=(16, 24), **options):
    torch.manual_seed(0)
    return VisionTransformer(patch_embed, size, 10, patch_embed.embed_dim, 1, 2, **options)


@pytest.mark.parametrize("shape", [(200, 12), (12, 200)], ids=["many vectors", "long vectors"])
def test_components_are_those_of_the_singular_value_decomposition(shape):
    vectors = drawn(*shape) * torch.linspace(1, 3, shape[1])
    found = principal_components(vectors, 5)
    _, values, directions = torch.linalg.svd(vectors - vectors.mean(dim=0), full_matrices=False)
    cosines = (found.directions * directions[:5]).sum(dim=1).abs()
    torch.testing.assert_close(cosines, torch.ones(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.scores.norm(dim=0), values[:5], rtol=1e-4, atol=1e-4)


def test_alignment_undoes_any_change_of_order_and_sign():
    scores = principal_components(drawn(100, 8), 3).scores
    shuffled = scores[:, [2, 0, 1]] * torch.tensor([-1.0, 1.0, -1.0])
    torch.testing.assert_close(aligned(shuffled, scores), scores)


def test_the_principal_components_of_a_patch_embedding_rebuild_its_filters():
    embed = LinearPatchEmbed(4, 3, 20)  # 20 filters of 48 weights: their differences span 19 directions
    filters, are_components = input_filters(model_of(embed))
    assert are_components
    weight = embed.proj.weight.detach().flatten(1)
    centred = weight - weight.mean(dim=0)
    directions = filters.flatten(1)[:19]
    torch.testing.assert_close(centred @ directions.T @ directions, centred, rtol=0, atol=1e-5)


def test_a_stems_first_filters_are_shown_as_they_are():
    embed = ConvStem(4, 3, 16)
    filters, are_components = input_filters(model_of(embed))
    assert not are_components
    assert torch.equal(filters, embed.stem[0].weight.detach())


@pytest.mark.parametrize(
    "options", [{}, {"no_embed_class": True}, {"reg_tokens": 2}, {"pos_embed": "sincos_2d"}], ids=str
)
def test_similarity_of_positions_is_the_cosine_and_prefix_tokens_have_no_place_in_it(options):
    model = model_of(LinearPatchEmbed(8, 3, 16), **options)
    similarity = position_similarity(model)
    table = model.pos_embed.detach()[0, -6:]
    for one in range(6):
        for other in range(6):
            expected = torch.cosine_similarity(table[one], table[other], dim=0)
            torch.testing.assert_close(
                similarity[one // 3, one % 3, other // 3, other % 3], expected, rtol=0, atol=1e-5
            )


def test_a_model_without_positions_has_no_similarity():
    assert position_similarity(model_of(LinearPatchEmbed(8, 3, 16), pos_embed="none")) is None
