"""A page's attention is the model's own, and stays within its bytes."""

import numpy as np
import pytest
import torch

from vitlab.gallery.packing import pack_attention, plan
from vitlab.insight.attention.maps import attention_maps
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def small_vit(**options):
    torch.manual_seed(0)
    model = VisionTransformer(
        LinearPatchEmbed(8, 3, 24),
        image_size=(24, 32),
        num_classes=4,
        embed_dim=24,
        depth=3,
        num_heads=2,
        **options,
    )
    for block in model.blocks:
        block.attn.qkv.weight.data *= 20  # so that attention is far from uniform
    return model.eval()


def unpacked(packed):
    return packed.levels / 255 * packed.scales[..., None]


@pytest.mark.parametrize("pooling", [{}, {"reg_tokens": 2}, {"global_pool": "avg", "class_token": False}])
def test_unpacked_attention_is_the_models_within_a_level_of_each_row(pooling):
    model, image = small_vit(**pooling), torch.randn(1, 3, 24, 32)
    maps = attention_maps(model, image)
    prefix = maps.layout.num_prefix_tokens
    expected = torch.cat(
        [maps.layout.readout() @ maps.maps[:, 0][..., None, :, :], maps.maps[:, 0, :, prefix:]], dim=2
    ).numpy()
    packed = pack_attention(model, image)
    bound = expected.max(axis=-1, keepdims=True) / 510 + 1e-6
    assert (np.abs(unpacked(packed) - expected) <= bound).all()


def test_what_has_no_room_is_left_out_last_layer_last_and_named():
    model, image = small_vit(), torch.randn(1, 3, 24, 32)
    whole = pack_attention(model, image)
    layer_bytes = 13 * 13  # 12 patches and a class token, the readout and 12 queries
    assert whole.levels.size == 3 * 2 * layer_bytes and not whole.left_out
    heads_gone = pack_attention(model, image, max_bytes=3 * layer_bytes)
    assert "single heads" in heads_gone.left_out and heads_gone.layers == [1, 2, 3]
    mean = unpacked(whole).mean(axis=1)
    assert np.abs(unpacked(heads_gone)[:, 0] - mean).max() < 0.01
    layers_gone = pack_attention(model, image, max_bytes=2 * layer_bytes)
    assert layers_gone.layers == [1, 3] and "layers 2" in layers_gone.left_out
    patches_gone = pack_attention(model, image, max_bytes=layer_bytes - 1)
    assert patches_gone.levels.shape[2] == 1 and "single patches" in patches_gone.left_out


@pytest.mark.parametrize(
    ("depth", "heads", "patches"), [(12, 12, 196), (24, 16, 576), (12, 12, 784), (32, 16, 256), (12, 3, 4096)]
)
def test_any_models_attention_fits_and_vit_b_16_keeps_every_head(depth, heads, patches):
    room = plan(depth, heads, patches, patches + 1, max_bytes=6_000_000)
    queries = 1 + patches if room.all_queries else 1
    assert len(room.layers) * (1 if room.averaged else heads) * queries * (patches + 1) <= 6_000_000
    assert room.layers[-1] == depth - 1
    assert room.averaged == ((depth, heads, patches) != (12, 12, 196) and room.all_queries)
