"""The from-scratch ViT against timm's and torchvision's, and what its options promise."""

import pytest
import timm.models.vision_transformer as timm_vit
import torch
from torch import nn
from torchvision.models import VisionTransformer as TorchvisionViT

from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

SIZES = {
    "micro": (64, 4, 4),
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}

OPTIONS = {
    "plain": {},
    "no qkv bias": {"qkv_bias": False},
    "qk norm and layer scale": {"qk_norm": True, "init_values": 1e-4},
    "registers": {"reg_tokens": 4},
    "mean pooling": {"global_pool": "avg"},
    "mean pooling without class token": {"global_pool": "avg", "class_token": False},
    "positions on patches only": {"no_embed_class": True, "reg_tokens": 2},
    "no positions": {"pos_embed": "none"},
}


def ours(
    image_size=(32, 48),
    patch_size=8,
    in_channels=3,
    num_classes=7,
    embed_dim=64,
    depth=3,
    num_heads=4,
    **options,
):
    patch_embed = LinearPatchEmbed(patch_size, in_channels, embed_dim)
    return VisionTransformer(
        patch_embed, image_size, num_classes, embed_dim, depth, num_heads, **options
    ).eval()


def timms(image_size=(32, 48), patch_size=8, in_channels=3, num_classes=7, **options):
    model = timm_vit.VisionTransformer(
        img_size=image_size, patch_size=patch_size, in_chans=in_channels, num_classes=num_classes, **options
    )
    for parameter in model.parameters():  # also those that start as zeros or ones
        nn.init.normal_(parameter, std=0.05)
    return model.eval()


@pytest.mark.parametrize(("size", "side"), [((32, 48), 8), ((28, 28), 4)])
def test_embedding_patches_by_one_product_is_the_convolution(size, side):
    embed, images = LinearPatchEmbed(side, 3, 24), torch.randn(2, 3, *size)
    torch.testing.assert_close(embed.by_product(images), embed(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_loads_a_timm_state_dict_and_gives_the_same_logits(options):
    torch.manual_seed(0)
    shape = {"embed_dim": 64, "depth": 3, "num_heads": 4}
    timm_model = timms(**shape, **options)
    model = ours(**shape, **options)
    model.load_state_dict(timm_model.state_dict(), strict=True)
    images = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(model(images), timm_model(images), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_every_size_loads_a_timm_state_dict_strictly_by_name_and_shape(size):
    embed_dim, depth, num_heads = size
    with torch.device("meta"):
        timm_model = timm_vit.VisionTransformer(
            img_size=224, patch_size=16, embed_dim=embed_dim, depth=depth, num_heads=num_heads
        )
        model = ours(
            image_size=224,
            patch_size=16,
            num_classes=1000,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
        )
    shapes = {name: tensor.shape for name, tensor in timm_model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes


@pytest.mark.parametrize("name", ["tiny", "small", "base"])
def test_common_sizes_give_timms_logits(name):
    torch.manual_seed(0)
    embed_dim, depth, num_heads = SIZES[name]
    shape = {
        "embed_dim": embed_dim,
        "depth": depth,
        "num_heads": num_heads,
        "image_size": 32,
        "in_channels": 1,
    }
    timm_model = timms(**shape)
    model = ours(**shape)
    model.load_state_dict(timm_model.state_dict(), strict=True)
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(model(images), timm_model(images), rtol=1e-5, atol=1e-5)


def test_training_gradients_equal_timms():
    torch.manual_seed(0)
    timm_model, model = timms(embed_dim=64, depth=3, num_heads=4), ours()
    model.load_state_dict(timm_model.state_dict())
    images, labels = torch.randn(4, 3, 32, 48), torch.tensor([0, 1, 2, 6])
    for each in (timm_model, model):
        nn.functional.cross_entropy(each.train()(images), labels).backward()
    theirs = dict(timm_model.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-5, atol=1e-6, msg=name)


def from_torchvision(state):
    """torchvision's names for the same weights."""
    renamed = {}
    for name, value in state.items():
        for theirs, own in (
            ("class_token", "cls_token"),
            ("conv_proj", "patch_embed.proj"),
            ("encoder.pos_embedding", "pos_embed"),
            ("encoder.layers.encoder_layer_", "blocks."),
            ("encoder.ln", "norm"),
            ("ln_1", "norm1"),
            ("ln_2", "norm2"),
            ("self_attention.in_proj_", "attn.qkv."),
            ("self_attention.out_proj", "attn.proj"),
            ("mlp.0", "mlp.fc1"),
            ("mlp.3", "mlp.fc2"),
            ("heads.head", "head"),
        ):
            name = name.replace(theirs, own)
        renamed[name] = value
    return renamed


def test_equals_torchvisions_vit_under_a_key_map():
    torch.manual_seed(0)
    peer = TorchvisionViT(
        image_size=32, patch_size=8, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=256, num_classes=7
    ).eval()
    nn.init.normal_(peer.heads.head.weight)
    model = ours(image_size=32)
    model.load_state_dict(from_torchvision(peer.state_dict()), strict=True)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), peer(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pos_embed", ["learn", "sincos_2d", "sinusoidal_1d"])
def test_positions_make_the_order_of_patches_matter(pos_embed):
    torch.manual_seed(0)
    model = ours(image_size=32, pos_embed=pos_embed, global_pool="avg", class_token=False)
    images = torch.randn(1, 3, 32, 32)
    moved = images.roll(16, dims=3)  # whole patches change places
    assert (model(images) - model(moved)).abs().max() > 1e-4
    orderless = ours(image_size=32, pos_embed="none", global_pool="avg", class_token=False)
    torch.testing.assert_close(orderless(images), orderless(moved), rtol=1e-4, atol=1e-5)


def test_another_resolution_interpolates_positions_as_timm_does():
    torch.manual_seed(0)
    timm_model = timm_vit.VisionTransformer(
        img_size=32, patch_size=8, num_classes=7, embed_dim=64, depth=3, num_heads=4, dynamic_img_size=True
    ).eval()
    model = ours(image_size=32)
    model.load_state_dict(timm_model.state_dict())
    images = torch.randn(2, 3, 48, 64)
    torch.testing.assert_close(model(images), timm_model(images), rtol=1e-5, atol=1e-5)


def test_drop_path_leaves_the_expected_output_and_does_nothing_in_evaluation():
    torch.manual_seed(0)
    model = ours(image_size=32, drop_path_rate=0.5)
    images = torch.randn(1, 3, 32, 32)
    evaluated = model(images)
    torch.testing.assert_close(evaluated, model(images))
    branch = model.blocks[-1].drop_path1.train()
    ones = torch.ones(4000, 1, 1)
    kept = branch(ones)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert abs(kept.mean().item() - 1.0) < 0.1


def test_conv_stem_sees_beyond_its_patch_and_the_linear_one_does_not():
    torch.manual_seed(0)
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[..., :8, 8:16] += 1.0  # the second patch
    for stem, expected in ((ConvStem(8, 3, 64).eval(), True), (LinearPatchEmbed(8, 3, 64), False)):
        difference = (stem(images) - stem(changed)).abs().sum(dim=-1)[0]
        assert difference[1] > 0
        assert (difference[2] > 0) == expected  # its right neighbour


def test_a_deeper_and_wider_stem_keeps_stride_and_width():
    stem = ConvStem(8, 3, 96, stem_width=64, convs_per_stage=2)
    convolutions = [module for module in stem.stem if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [64, 64, 96, 96, 96, 96]
    assert [conv.stride[0] for conv in convolutions] == [2, 1, 2, 1, 2, 1]
    assert stem(torch.randn(2, 3, 32, 24)).shape == (2, 12, 96)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_heads": 5}, "model.num_heads=5 does not divide model.embed_dim=64"),
        ({"patch_size": 7}, r"patch_size=7 does not divide the image of 32 x 48 px"),
        ({"patch_size": 64}, "patch_size=64 does not divide"),
        ({"drop_rate": 1.5}, "model.drop_rate=1.5 is not a probability"),
        ({"class_token": False}, "model.global_pool=token needs model.class_token=true"),
        ({"embed_dim": 66, "num_heads": 6, "pos_embed": "sincos_2d"}, "divisible by 4, got 66"),
    ],
)
def test_impossible_shapes_are_refused_with_the_numbers(change, says):
    with pytest.raises(ValueError, match=says):
        ours(**change)


def test_an_image_that_patches_do_not_divide_is_refused_at_run_time():
    with pytest.raises(ValueError, match="patch_size=8 does not divide the image of 36 x 48 px"):
        ours()(torch.zeros(1, 3, 36, 48))


def test_a_zero_head_gives_every_class_the_same_probability_and_changes_no_other_weight():
    models = []
    for zero_head in (False, True):
        torch.manual_seed(0)
        models.append(ours(zero_head=zero_head))
    plain, zero = models
    assert torch.equal(zero(torch.randn(2, 3, 32, 48)), torch.zeros(2, 7))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, zero.state_dict()[name]) == (name != "head.weight"), name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradient_checkpointing_gives_the_same_bits_and_leaves_the_generator_where_it_was(precision):
    rates = {name: 0.2 for name in ("pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")}
    images, labels = torch.randn(6, 3, 16, 16), torch.arange(6) % 5
    results = []
    for grad_checkpointing in (False, True):
        torch.manual_seed(0)
        model = VisionTransformer(
            LinearPatchEmbed(4, 3, 24), 16, 5, 24, 3, 2, grad_checkpointing=grad_checkpointing, **rates
        )
        kept = []
        counted = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, kept=kept: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
        )
        with counted, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        results.append(
            ([loss.detach(), *(parameter.grad for parameter in model.parameters()), torch.rand(2)], sum(kept))
        )
    (plain, num_kept), (checkpointed, num_kept_now) = results
    assert all(torch.equal(one, other) for one, other in zip(checkpointed, plain, strict=True))
    assert num_kept_now < num_kept
