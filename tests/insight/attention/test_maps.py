"""Whole maps: the rows of a batch, of its images one by one and of the readout agree, and memory is known
before it is taken."""

import pytest
import torch
from torch import nn

from vitlab.insight.attention import maps as maps_module
from vitlab.insight.attention.capture import record
from vitlab.insight.attention.maps import attention_maps, chunk_size, map_bytes
from vitlab.insight.views.view_of import view_of
from vitlab.models import kernels
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def make_vit(image_size=(16, 24), depth=3, **options):
    torch.manual_seed(0)
    model = VisionTransformer(
        LinearPatchEmbed(8, 3, 32), image_size, 5, embed_dim=32, depth=depth, num_heads=2, **options
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def make_images(count, image_size=(16, 24)):
    return torch.randn(count, 3, *image_size, generator=torch.Generator().manual_seed(1))


MODELS = {
    "class token": {"reg_tokens": 2},
    "mean pooling": {"class_token": False, "global_pool": "avg", "reg_tokens": 1},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_a_batch_in_chunks_is_its_images_one_by_one(options, monkeypatch):
    model, images = make_vit(**options), make_images(5)
    whole = attention_maps(model, images)
    torch.testing.assert_close(whole.maps.sum(dim=-1), torch.ones(whole.maps.shape[:-1]))
    torch.testing.assert_close(whole.logits, model(images))
    singles = [attention_maps(model, image[None]) for image in images]
    torch.testing.assert_close(torch.cat([single.maps for single in singles], dim=1), whole.maps)
    torch.testing.assert_close(torch.cat([single.logits for single in singles]), whole.logits)

    batches = []
    model.blocks[0].register_forward_hook(lambda _, inputs, __: batches.append(len(inputs[0])))
    view, layout = view_of(model), view_of(model).layout(images)
    monkeypatch.setattr(
        maps_module, "WORKING_BYTES", maps_module.WORKING_BYTES * 2 // chunk_size(view, layout)
    )
    torch.testing.assert_close(attention_maps(model, images).maps, whole.maps)
    assert batches == [2, 2, 1]


@pytest.mark.parametrize(
    "longest", [kernels.MAX_EXPLICIT_TOKENS, 2], ids=["plain products", "too many tokens for them"]
)
def test_maps_are_the_softmax_of_what_the_fused_kernel_sees_whichever_kernel_ran(longest, monkeypatch):
    model, images = make_vit(reg_tokens=2), make_images(2)
    seen, ran = [], []
    with record(model, lambda _, layer: seen.append(layer.scores().softmax(dim=-1))):
        logits = model(images)
    monkeypatch.setattr(kernels, "MAX_EXPLICIT_TOKENS", longest)
    for block in model.blocks:
        block.attn.tap_weights.register_forward_hook(lambda _, inputs, __: ran.append("plain"))
    with_maps = attention_maps(model, images)
    torch.testing.assert_close(with_maps.maps, torch.stack(seen), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(with_maps.logits, logits, rtol=1e-5, atol=1e-5)
    assert len(ran) == (len(model.blocks) if longest > 2 else 0)
    assert not kernels.takes_plain_products("cpu", torch.float32, 2)  # once the look inside is over


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_the_readout_is_what_the_head_reads_of_the_whole_map(options):
    model, images = make_vit(**options), make_images(2)
    whole = attention_maps(model, images)
    readout = attention_maps(model, images, query="readout")
    torch.testing.assert_close(readout.maps, whole.layout.readout() @ whole.maps[..., None, :, :])
    patches = whole.maps[..., whole.layout.num_prefix_tokens :, :].mean(dim=-2)
    expected = whole.maps[..., 0, :] if options.get("class_token", True) else patches
    torch.testing.assert_close(readout.maps[..., 0, :], expected)


def test_the_last_readout_says_what_the_head_would_lose_with_a_patch_in_the_one_layer_model():
    """With one layer whose MLP is silent, the class token's logits depend on the patches through this row of
    attention alone."""
    model, images = make_vit(depth=1), make_images(1)
    block = model.blocks[0]
    nn.init.zeros_(block.mlp.fc2.weight)
    tokens = model.embed(images)
    row = attention_maps(model, images, query="readout").maps[0, :, :, 0]  # [batch, heads, tokens]
    values = block.attn.qkv(block.norm1(tokens)).unflatten(-1, (3, 2, -1))[:, :, 2].transpose(1, 2)
    read = (row[:, :, None] @ values).flatten(1)
    class_token = tokens[:, 0] + block.attn.proj(read) + block.mlp.fc2.bias
    torch.testing.assert_close(model.head(model.norm(class_token)), model(images))


def test_equal_keys_make_attention_uniform():
    model = make_vit()
    for block in model.blocks:
        nn.init.zeros_(block.attn.qkv.weight[32:64])
    maps = attention_maps(model, make_images(2)).maps
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / 7))


def test_the_estimate_is_the_size_of_the_tensor():
    model, images = make_vit((16, 32), reg_tokens=1), make_images(3, (16, 32))
    view = view_of(model)
    layout = view.layout(images)
    for query, num_queries in (("all", layout.num_tokens), ("readout", 1)):
        maps = attention_maps(model, images, query=query).maps
        assert len(images) * map_bytes(view, layout, num_queries) == maps.untyped_storage().nbytes()


def test_what_is_too_large_is_refused_before_the_model_runs_with_its_size_and_what_would_work():
    model, images = make_vit(), make_images(4)
    bytes_needed = 3 * 4 * 2 * 7 * 7 * 4
    runs = []
    model.patch_embed.register_forward_pre_hook(lambda *_: runs.append(1))
    with pytest.raises(ValueError) as refusal:
        attention_maps(model, images, max_bytes=bytes_needed - 1)
    line = str(refusal.value)
    assert line.count("\n") == 0
    assert not runs
    assert 'query="readout" or at most 3 images at once or max_bytes=4704 would work' in line
    assert attention_maps(model, images, max_bytes=bytes_needed).maps.nbytes == bytes_needed
    assert attention_maps(model, images[:3], max_bytes=bytes_needed - 1).maps.shape[1] == 3
    assert attention_maps(model, images, query="readout", max_bytes=bytes_needed - 1).maps.shape[1] == 4


def test_in_inference_mode_and_beside_the_default_generator_nothing_changes():
    model, images = make_vit(attn_drop_rate=0.5, drop_path_rate=0.5).train(), make_images(2)
    before = torch.get_rng_state()
    plain = attention_maps(model, images)
    with torch.inference_mode():
        inside = attention_maps(model, make_images(2))
    assert torch.equal(inside.maps, plain.maps)
    assert not inside.maps.is_inference()
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
