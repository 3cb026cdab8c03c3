"""Models on the device: timm's logits, the processor's gradients, the flash kernel's attention, compiled
graphs."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.peers import VIT_B_16, VIT_TI_4, Shape, timm, vitlab
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitlab.insight.attention.capture import record
from vitlab.insight.attention.maps import attention_maps
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.resnet_embed import PatchResNet, ResNetStage
from vitlab.models.vit import VisionTransformer

SMALLEST = Shape("smallest", 16, 8, 64, 1, 1, batch=2, num_classes=10)
SIDE, CLASSES = 32, 10

PATCH_EMBEDS = {
    "linear": lambda: LinearPatchEmbed(8, 3, 64),
    "conv_stem": lambda: ConvStem(8, 3, 64),
    "conv_stem_deep": lambda: ConvStem(8, 3, 64, 32, 2),
    "resnet_stage": lambda: ResNetStage(8, 3, 64, "resnet18", 2, "imagenet", "group"),
    "patch_resnet": lambda: PatchResNet(8, 3, 64, "resnet18", 1, "small", "group", None, 64),
}

OPTIONS = {
    "class token": {},
    "registers": {"reg_tokens": 4, "no_embed_class": True},
    "mean pooling": {"class_token": False, "global_pool": "avg", "pos_embed": "sincos_2d"},
    "mean pooling beside a class token": {"global_pool": "avg", "init_values": 0.5},
    "normalised queries": {"qk_norm": True},
    "depthwise convolution": {"ffn": "dwconv"},
    "positions in one row": {"pos_embed": "sinusoidal_1d"},
    "no positions, no biases": {"pos_embed": "none", "qkv_bias": False},
    "checkpointed": {"grad_checkpointing": True},
    "a head from zero": {"zero_head": True, "mlp_ratio": 2.0},
}
RANDOM = {
    name: 0.1 for name in ("drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")
}


def make_vit(patch_embed, options, depth=3, std=0.1):
    torch.manual_seed(0)
    model = VisionTransformer(
        PATCH_EMBEDS[patch_embed](), SIDE, CLASSES, embed_dim=64, depth=depth, num_heads=2, **options
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name and not name.startswith("patch_embed"):
            nn.init.normal_(parameter, std=std)
    return model


def make_images(count=4):
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def step(model, device, precision=torch.float32):
    """Returns loss and gradients of a training step, as one vector."""
    images, labels = make_images().to(device), torch.arange(4, device=device)
    with torch.autocast(device, precision, enabled=precision != torch.float32):
        loss = F.cross_entropy(model(images), labels)
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten().float().cpu() for parameter in model.parameters()])
    model.zero_grad()
    return loss.item(), gradient


def relative(these, those):
    return float((these.double() - those.double()).norm() / those.double().norm())


@pytest.mark.usefixtures("exact_products")
@pytest.mark.full("shape", [SMALLEST, VIT_TI_4, VIT_B_16])
def test_with_timms_weights_the_logits_are_timms(device, note, distance, shape):
    torch.manual_seed(0)
    peer, own = timm(shape).to(device).eval(), vitlab(shape).to(device).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator).to(device)
        own.load_state_dict(peer.state_dict())
        images = torch.randn(4, 3, shape.image_size, shape.image_size, generator=generator).to(device)
        theirs, ours = peer(images), own(images)
        with torch.autocast(device, torch.bfloat16):
            their_bf16, our_bf16 = peer(images), own(images)
    note("float32", distance(ours, theirs))
    note("bf16", distance(our_bf16.float(), their_bf16.float()))
    note("bf16 from float32, ours", distance(our_bf16.float(), theirs))
    note("timm", distance(their_bf16.float(), theirs))
    assert distance(ours, theirs) <= 1e-5
    assert distance(our_bf16.float(), theirs) <= 1.5 * distance(their_bf16.float(), theirs) + 5e-3


@pytest.mark.usefixtures("exact_products")
@pytest.mark.full("patch_embed", PATCH_EMBEDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_has_the_processors_loss_and_gradients(device, note, patch_embed, options):
    model = make_vit(patch_embed, OPTIONS[options]).train()
    loss, gradient = step(model, "cpu")
    model.to(device)
    near_loss, near = step(model, device)
    rough_loss, rough = step(model, device, torch.bfloat16)
    note("float32 gradient", relative(near, gradient))
    note("bf16 gradient", relative(rough, gradient))
    assert near_loss == pytest.approx(loss, rel=1e-4)
    assert rough_loss == pytest.approx(loss, rel=5e-2)
    assert relative(near, gradient) <= 1e-3
    assert relative(rough, gradient) <= 0.25


def test_dropout_of_every_kind_draws_the_same_again_from_the_same_seed(device):
    model = make_vit("linear", RANDOM).to(device).train()
    steps = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        steps.append(step(model, device, torch.bfloat16)[0])
    assert steps[0] == steps[1] != steps[2]


KERNELS = {
    "flash": (SDPBackend.FLASH_ATTENTION, torch.bfloat16),
    "efficient": (SDPBackend.EFFICIENT_ATTENTION, torch.float32),
}


@pytest.mark.full("patch_embed", PATCH_EMBEDS)
@pytest.mark.parametrize("options", list(OPTIONS)[:6])
@pytest.mark.parametrize("kernel", KERNELS)
def test_probabilities_times_values_are_what_the_kernel_gave(device, note, patch_embed, options, kernel):
    backend, dtype = KERNELS[kernel]
    model, images, layers = (
        make_vit(patch_embed, OPTIONS[options], std=0.3).to(device).eval(),
        make_images().to(device),
        [],
    )
    allowed = [backend] if device == "cuda" else [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]
    with torch.no_grad(), torch.autocast(device, dtype, enabled=dtype != torch.float32), sdpa_kernel(allowed):
        with record(model, lambda _, layer: layers.append(layer)):
            logits = model(images)
        assert torch.equal(logits, model(images))
    worst = 0.0
    for layer in layers:
        worst = max(worst, relative(layer.probabilities() @ layer.v.float(), layer.out))
    note("relative difference", worst)
    assert len(layers) == 3
    assert worst <= (1e-2 if dtype == torch.bfloat16 else 1e-4)


@pytest.mark.usefixtures("exact_products")
@pytest.mark.full("patch_embed", PATCH_EMBEDS)
def test_a_compiled_model_computes_the_same_and_its_maps_are_seen_beside_it(
    device, note, distance, compiler, patch_embed
):
    options = OPTIONS["normalised queries"]
    plain, fast = (make_vit(patch_embed, options, depth=2).to(device).train() for _ in range(2))
    fast.compile(backend=compiler)
    (loss, gradient), (fast_loss, fast_gradient) = step(plain, device), step(fast, device)
    note("float32 gradient", relative(fast_gradient, gradient))
    assert fast_loss == pytest.approx(loss, rel=1e-4)
    assert relative(fast_gradient, gradient) <= 1e-3
    (_, rough), (_, fast_rough) = step(plain, device, torch.bfloat16), step(fast, device, torch.bfloat16)
    note("bf16 gradient", relative(fast_rough, rough))
    assert relative(fast_rough, rough) <= 0.1
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    maps, fast_maps = (attention_maps(model, make_images().to(device)).maps for model in (plain, fast))
    assert distance(fast_maps, maps) <= 1e-5
    step(fast, device)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
