"""Other libraries' models, read without importing them: their own attention, their own logits, and what
cannot be read is refused."""

import copy

import pytest
import timm
import torch
import torch.distributed as dist
import torch.nn.functional as F
import transformers
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import ParallelScalingBlock, ParallelThingsBlock, ResPostBlock
from torch import nn

from vitlab.insight.attention.capture import attention_gradients, record
from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.attention.stats import attention_stats
from vitlab.insight.views.view_of import OwnView, view_of
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
WIDE = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(2))


def sharpened(model):
    """Attention far from uniform, every token of its own."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


def timm_vit(image_size=32, kind=timm.models.VisionTransformer, **options):
    sizes = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5} | options
    return sharpened(kind(img_size=image_size, **sizes))


def hugging_face(name, config, **options):
    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    settings = getattr(transformers, config)(**sizes, intermediate_size=64, num_labels=5, **options)
    return sharpened(getattr(transformers, name)(settings))


class GatedAttention(timm.layers.Attention):
    """timm's attention with the gate that its ViT has no argument for."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options, gated=True)


TIMM = {
    "plain": {},
    "normalised queries": {"qk_norm": True, "norm_layer": nn.LayerNorm},
    "registers": {"reg_tokens": 3, "no_embed_class": True},
    "mean pooling": {"class_token": False, "global_pool": "avg"},
    "mean pooling beside a class token": {"global_pool": "avg", "init_values": 0.5},
    "normalised output": {"scale_attn_norm": True, "norm_layer": nn.LayerNorm},
    "gated output": {"attn_layer": GatedAttention},
    "post-norm, CLIP's pre-norm, images of any size": {
        "block_fn": ResPostBlock,
        "pre_norm": True,
        "dynamic_img_size": True,
    },
    "distilled": {"kind": VisionTransformerDistilled},
}

HUGGING_FACE = {
    "ViTForImageClassification": "ViTConfig",
    "ViTModel": "ViTConfig",
    "DeiTForImageClassification": "DeiTConfig",
    "DeiTForImageClassificationWithTeacher": "DeiTConfig",
    "Dinov2ForImageClassification": "Dinov2Config",
    "Dinov2Model": "Dinov2Config",
    "Dinov2WithRegistersForImageClassification": "Dinov2WithRegistersConfig",
    "Dinov2WithRegistersModel": "Dinov2WithRegistersConfig",
}


@pytest.mark.parametrize("options", TIMM.values(), ids=TIMM)
def test_timms_attention_is_what_timm_computes_without_its_fused_kernel(options):
    model = timm_vit((32, 48), **options)
    maps, logits, layout = attention_maps(model, WIDE)
    assert all(block.attn.fused_attn for block in model.blocks)
    assert torch.equal(logits, model(WIDE))

    slow, seen = copy.deepcopy(model), []
    for block in slow.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, __, probabilities: seen.append(probabilities))
    slow(WIDE)
    torch.testing.assert_close(maps, torch.stack(seen))
    assert maps.amax() > 0.3
    assert layout.grid == (4, 6)
    assert layout.num_prefix_tokens == model.num_prefix_tokens


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_hugging_faces_attention_is_what_it_gives_out_itself_on_its_slow_path(name):
    model = hugging_face(name, HUGGING_FACE[name])
    maps, logits, _ = attention_maps(model, IMAGES)
    fast = model(IMAGES)
    has_head = "For" in name
    assert view_of(model).has_head == has_head
    assert torch.equal(logits, fast.logits if has_head else fast.last_hidden_state[:, 0])
    model.set_attn_implementation("eager")
    torch.testing.assert_close(maps, torch.stack(model(IMAGES, output_attentions=True).attentions))
    assert maps.amax() > 0.3


def explicit_timm(model):
    """Logits and probabilities of timm's slow path."""
    slow, seen = copy.deepcopy(model), []
    for block in slow.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, __, probabilities: seen.append(probabilities))
    return slow(IMAGES), seen


def explicit_hugging_face(model):
    """Logits and probabilities of Hugging Face's slow path."""
    slow = copy.deepcopy(model)
    slow.set_attn_implementation("eager")
    outputs = slow(IMAGES, output_attentions=True)
    return outputs.logits, outputs.attentions


@pytest.mark.parametrize(
    ("make", "explicit"),
    [
        (lambda: timm_vit(qk_norm=True, norm_layer=nn.LayerNorm), explicit_timm),
        (lambda: timm_vit(scale_attn_norm=True, norm_layer=nn.LayerNorm), explicit_timm),
        (lambda: hugging_face("DeiTForImageClassificationWithTeacher", "DeiTConfig"), explicit_hugging_face),
    ],
    ids=["timm", "timm with a normalised output", "Hugging Face"],
)
def test_through_their_fused_kernels_gradients_by_attention_are_those_of_their_slow_paths(make, explicit):
    model, layers = make(), []
    with record(model, lambda _, layer: layers.append(layer)):
        logits = view_of(model).logits(IMAGES)
    for layer in layers:
        torch.testing.assert_close(layer.probabilities() @ layer.v, layer.out, rtol=0, atol=1e-5)
    ours = attention_gradients(layers, F.cross_entropy(logits, torch.tensor([1, 2])))
    logits, probabilities = explicit(model)
    expected = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([1, 2])), probabilities)
    for gradient, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5)
        assert other.abs().max() > 1e-3


MODELS = {
    **{
        f"timm, {name}": lambda options=options: timm_vit((32, 48), **options)
        for name, options in TIMM.items()
    },
    "DINOv2 with registers": lambda: hugging_face(
        "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig"
    ),
    "DeiT": lambda: hugging_face("DeiTForImageClassificationWithTeacher", "DeiTConfig"),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_readout_is_the_only_way_to_the_logits(make):
    """Behind the last block, logits change with the tokens that have weight in the readout, and with no
    other."""
    model = make()
    view = view_of(model)
    images = IMAGES if "transformers" in type(model).__module__ else WIDE
    layout = view.layout(images)
    tokens = view.encode(view.embed(images), layout.grid).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(view.head(tokens)[0].square().sum(), tokens)
    reads = slopes[0].abs().sum(dim=-1) > 0
    assert torch.equal(reads, layout.readout() > 0)
    torch.testing.assert_close(layout.readout().sum(), torch.tensor(1.0))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_dropped_patches_leave_what_a_mask_on_them_would(make):
    """Without a patch token the logits are those of the same model with attention to it forbidden, and out of
    the mean."""
    model = make()
    view = view_of(model)
    images = IMAGES if "transformers" in type(model).__module__ else WIDE
    layout = view.layout(images)
    tokens = view.embed(images)
    chosen = torch.randperm(
        layout.num_tokens - layout.num_prefix_tokens, generator=torch.Generator().manual_seed(4)
    )[:7]
    kept = torch.cat([torch.arange(layout.num_prefix_tokens), layout.num_prefix_tokens + chosen])
    fewer = view.classify(tokens[:, kept], layout.grid, chosen.expand(2, -1))

    allowed = torch.zeros(layout.num_tokens, dtype=torch.bool)
    allowed[kept] = True
    kernel = F.scaled_dot_product_attention

    def masked(q, k, v, attn_mask=None, **options):
        return kernel(q, k, v, attn_mask=allowed.expand(1, 1, q.shape[2], -1), **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", masked)
        encoded = view.encode(tokens, layout.grid)
    torch.testing.assert_close(fewer, view.head(encoded[:, kept]), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(fewer, view.classify(tokens, layout.grid), atol=1e-2)


def test_another_image_size_goes_the_way_the_library_has_for_it():
    vit, dino = (
        hugging_face("ViTForImageClassification", "ViTConfig"),
        hugging_face("Dinov2ForImageClassification", "Dinov2Config"),
    )
    assert torch.equal(attention_maps(vit, WIDE).logits, vit(WIDE, interpolate_pos_encoding=True).logits)
    assert torch.equal(attention_maps(dino, WIDE).logits, dino(WIDE).logits)
    assert attention_maps(dino, WIDE).layout.grid == (4, 6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"global_pool": "map"}, "global_pool='map'"),
        ({"global_pool": "max"}, "global_pool='max'"),
        ({"global_pool": "avg", "pool_include_prefix": True}, "over prefix tokens"),
        ({"block_fn": ParallelScalingBlock}, r"blocks\.0: attention inside a ParallelScalingBlock"),
        ({"block_fn": ParallelThingsBlock}, "ParallelThingsBlock"),
        ({"attn_layer": "diff"}, "DiffAttention"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused_in_a_line(options, reason):
    with pytest.raises(ValueError, match=f"{reason}.* would work") as refusal:
        view_of(timm_vit(**options))
    assert "\n" not in str(refusal.value)


def test_models_nobody_knows_are_refused_in_a_line():
    for model in (
        nn.Linear(3, 3),
        timm.create_model("resnet18"),
        transformers.ViTForMaskedImageModeling(transformers.ViTConfig(num_hidden_layers=1)),
    ):
        with pytest.raises(
            ValueError, match=f"a {type(model).__name__} cannot be looked into; .* would work"
        ) as refusal:
            view_of(model)
        assert "\n" not in str(refusal.value)


def test_through_wrappers_the_model_itself_is_seen(tmp_path):
    model = sharpened(VisionTransformer(LinearPatchEmbed(8, 3, 32), 32, 5, 32, 2, 2))
    expected = attention_maps(model, IMAGES).maps

    class Classifier(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.model = inner

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(Classifier(model))
        for wrapped in (
            torch.compile(model, backend="eager"),
            nn.DataParallel(model),
            Classifier(torch.compile(model)),
            parallel,
        ):
            view = view_of(wrapped)
            assert isinstance(view, OwnView)
            assert view.model is model
            assert torch.equal(attention_maps(wrapped, IMAGES).maps, expected)
    finally:
        dist.destroy_process_group()


def test_a_compiled_timm_model_is_seen_too():
    torch._dynamo.reset()
    model = timm_vit()
    expected = attention_maps(model, IMAGES).maps
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(IMAGES)
        layers = []
        with record(compiled, lambda _, layer: layers.append(layer)):
            compiled(IMAGES)
    assert torch.equal(torch.stack([layer.probabilities() for layer in layers]), expected)


def test_token_norms_are_the_norms_of_hugging_faces_hidden_states():
    model = hugging_face("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig")
    hidden = model(IMAGES, output_hidden_states=True).hidden_states
    torch.testing.assert_close(
        attention_stats(model, IMAGES).token_norms, torch.stack(hidden[1:]).norm(dim=-1).detach()
    )
