"""What is recorded is what the kernel computed: for every kind of model, in bfloat16, beside a compiled
model, after an error."""

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitlab.insight.attention.capture import attention_gradients, record
from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.views.view_of import view_of
from vitlab.models import kernels
from vitlab.models.encoder import Block
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.resnet_embed import PatchResNet, ResNetStage
from vitlab.models.vit import VisionTransformer

PATCH_EMBEDS = {
    "linear": lambda: LinearPatchEmbed(8, 3, 32),
    "conv_stem": lambda: ConvStem(8, 3, 32),
    "resnet_stage": lambda: ResNetStage(8, 3, 32, "resnet18", 2, "imagenet", "group"),
    "patch_resnet": lambda: PatchResNet(8, 3, 32, "resnet18", 1, "small", "group", None, 64),
}

OPTIONS = {
    "class token": {},
    "class token and registers": {"reg_tokens": 3, "no_embed_class": True},
    "mean pooling": {"class_token": False, "global_pool": "avg", "pos_embed": "sincos_2d"},
    "mean pooling beside a class token": {"global_pool": "avg", "init_values": 0.5},
    "normalised queries": {"qk_norm": True},
    "depthwise convolution": {"ffn": "dwconv"},
}


def make_vit(patch_embed="linear", image_size=(16, 24), **options):
    """A small ViT in evaluation mode whose attention is far from uniform."""
    torch.manual_seed(0)
    model = VisionTransformer(
        PATCH_EMBEDS[patch_embed](), image_size, 5, embed_dim=32, depth=3, num_heads=2, **options
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name and not name.startswith("patch_embed"):
            nn.init.normal_(parameter, std=0.4)
    return model.eval()


def make_images(count=2, image_size=(16, 24)):
    return torch.randn(count, 3, *image_size, generator=torch.Generator().manual_seed(1))


def recorded(model, images):
    """Layers of a forward pass, and what it gave."""
    layers = []
    with torch.no_grad(), record(model, lambda _, layer: layers.append(layer)):
        logits = model(images)
    return layers, logits


def num_hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("patch_embed", PATCH_EMBEDS)
def test_probabilities_times_values_are_what_the_fused_kernel_gave(patch_embed, options):
    model, images = make_vit(patch_embed, **options), make_images()
    layers, logits = recorded(model, images)
    assert len(layers) == 3
    for layer in layers:
        probabilities = layer.probabilities()
        torch.testing.assert_close(probabilities @ layer.v, layer.out, rtol=0, atol=1e-5)
        torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones_like(probabilities[..., 0]))
    assert (
        layers[0].probabilities().amax() > 2.5 / view_of(model).layout(images).num_tokens
    )  # nothing would be proved on uniform attention
    assert torch.equal(logits, model(images))
    assert num_hooks(model) == 0


@pytest.mark.parametrize(
    "options", [{}, {"qk_norm": True, "reg_tokens": 2}], ids=["plain", "normalised queries"]
)
@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "bfloat16 weights"])
def test_in_bfloat16_too(options, autocast):
    model, images = make_vit(**options), make_images()
    exact = attention_maps(model, images).maps
    if not autocast:
        model, images = model.bfloat16(), images.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        layers, logits = recorded(model, images)
        assert torch.equal(logits, model(images))
        rounded = [layer.probabilities() for layer in layers]  # float32, although autocast is on
        assert torch.equal(attention_maps(model, images).maps, torch.stack(rounded))
    for layer, probabilities in zip(layers, rounded, strict=True):
        assert layer.v.dtype == torch.bfloat16
        assert probabilities.dtype == torch.float32
        values = layer.v.float()
        torch.testing.assert_close(
            probabilities @ values, layer.out.float(), rtol=0, atol=2e-2 * float(values.abs().max())
        )
    assert (rounded[0] - exact[0]).abs().max() < 0.1


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_where_the_kernel_has_probabilities_those_are_recorded_and_are_the_softmax_of_its_scores(
    options, monkeypatch
):
    model, images = make_vit(**options), make_images()
    assert all(layer.weights is None for layer in recorded(model, images)[0])  # the fused kernel has none
    monkeypatch.setattr(kernels, "_explicit_dtypes", (torch.float32,))
    layers, _ = recorded(model, images)
    for layer in layers:
        torch.testing.assert_close(layer.weights, layer.scores().softmax(dim=-1), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.probabilities() @ layer.v, layer.out, rtol=1e-6, atol=1e-6)
    maps = attention_maps(model, images).maps
    torch.testing.assert_close(maps, torch.stack([layer.weights for layer in layers]), rtol=1e-6, atol=1e-6)
    taken = layers[0].probabilities()
    taken.zero_()
    assert layers[0].weights.any()  # what is handed out is a copy: the graph keeps its own


class Explicit(nn.Module):
    """A block's attention with the probabilities as a tensor in the graph."""

    def __init__(self, attention):
        super().__init__()
        self.attention, self.seen = attention, []

    def forward(self, x, num_read=None):
        own = self.attention
        q, k, v = own.qkv(x).unflatten(-1, (3, own.num_heads, -1)).permute(2, 0, 3, 1, 4)
        self.seen.append(((own.q_norm(q) @ own.k_norm(k).mT) / q.shape[-1] ** 0.5).softmax(dim=-1))
        return own.proj((self.seen[0] @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_gradients_by_attention_are_those_of_a_model_that_has_it_in_its_graph(options):
    images, labels = make_images(), torch.tensor([1, 3])
    model = make_vit(**options)
    layers = []
    with record(model, lambda _, layer: layers.append(layer)):
        loss = F.cross_entropy(model(images), labels)
    ours = attention_gradients(layers, loss)
    assert all(parameter.grad is None for parameter in model.parameters())

    slow = make_vit(**options)
    for block in slow.blocks:
        block.attn = Explicit(block.attn)
    loss = F.cross_entropy(slow(images), labels)
    expected = torch.autograd.grad(loss, [block.attn.seen[0] for block in slow.blocks])
    for gradient, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5)
        assert other.abs().max() > 1e-3


class CountingBackend:
    """A torch.compile backend that runs graphs as they are and counts how many it was given and how often
    they ran."""

    def __init__(self):
        self.compiled, self.ran = 0, 0

    def __call__(self, graph, example_inputs):
        self.compiled += 1

        def run(*inputs):
            self.ran += 1
            return graph.forward(*inputs)

        return run


def wrapped(model, backend):
    return torch.compile(model, backend=backend)


def in_place(model, backend):
    model.compile(backend=backend)
    return model


def per_block(model, backend):
    for block in model.blocks:
        block.compile(backend=backend)
    return model


@pytest.fixture
def fresh_compiler():
    """Forgets what was compiled, and takes the checks of shapes out of what will be: dynamo would trace
    them."""
    torch._dynamo.reset()
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("compiled", [wrapped, in_place, per_block])
def test_beside_a_compiled_model_all_layers_are_seen_nothing_compiles_anew_and_it_stays_compiled(
    compiled, fresh_compiler
):
    model, images, backend = make_vit(), make_images(), CountingBackend()
    expected = attention_maps(model, images).maps
    fast = compiled(model, backend)
    with torch.no_grad():
        before = fast(images)
        graphs, runs = backend.compiled, backend.ran
        assert graphs > 0
        layers, logits = recorded(fast, images)
        torch.testing.assert_close(
            torch.stack([layer.probabilities() for layer in layers]), expected, rtol=1e-5, atol=1e-6
        )
        assert torch.equal(attention_maps(fast, images).maps, expected)
        assert backend.ran == runs  # recording ran eagerly
        torch.testing.assert_close(logits, before)
        assert torch.equal(fast(images), before)
    assert backend.compiled == graphs
    assert backend.ran == 2 * runs


def test_inductors_graphs_are_left_alone_too(fresh_compiler):
    """The default backend on one block; a C++ compiler must be there."""
    model, images = make_vit().train(), make_images()
    model.blocks = model.blocks[:1]
    model.blocks[0].compile()
    with torch.no_grad():
        first = model(images)
        counters = torch._dynamo.utils.counters["stats"]
        graphs = counters["unique_graphs"]
        assert graphs > 0
        assert attention_maps(model, images).maps.amax() > 0.5
        assert torch.equal(first, model(images))
    assert counters["unique_graphs"] == graphs
    assert model.training


def test_token_dropping_on_a_compiled_model_compiles_nothing(fresh_compiler):
    model, images, backend = make_vit(), make_images(), CountingBackend()
    view = view_of(per_block(model, backend))
    tokens = view.embed(images)
    with torch.no_grad():
        for kept in (6, 5, 3):
            view.classify(tokens[:, : 1 + kept], (2, 3))
    assert backend.compiled == 0


def test_after_an_error_no_hook_is_left_and_compiled_graphs_run_again(fresh_compiler):
    model, images, backend = make_vit(), make_images(), CountingBackend()
    fast = wrapped(model, backend)

    def fail(index, layer):
        raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"), record(fast, fail):
        fast(images)
    assert num_hooks(model) == 0
    fast(images)
    assert backend.ran > 0


def test_nothing_seen_is_an_error():
    model, images = make_vit(), make_images()
    with (
        pytest.raises(RuntimeError, match=r"layers \[0, 1, 2\] was not seen"),
        record(model, lambda *_: None),
    ):
        pass
    with pytest.raises(RuntimeError, match=r"layers \[1, 2\]"), record(model, lambda *_: None):
        model.blocks[0](model.embed(images), model.grid)
    assert num_hooks(model) == 0


def test_training_with_a_look_inside_at_each_step_is_bit_identical_to_training_without():
    def losses(look):
        torch.manual_seed(5)
        model = make_vit(attn_drop_rate=0.1, proj_drop_rate=0.1, drop_path_rate=0.2).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        values = []
        for step in range(4):
            loss = F.cross_entropy(model(make_images()), torch.tensor([step, 4]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            values.append(loss.item())
            if look:
                attention_maps(model, make_images())
        return values

    assert losses(look=True) == losses(look=False)


def test_modes_of_modules_come_back_one_by_one():
    model = make_vit("conv_stem").train()
    frozen = model.patch_embed.stem[1].eval()
    with looked_at(model):
        assert not any(module.training for module in model.modules())
    assert {module for module in model.modules() if not module.training} == {frozen}


def test_dropped_patches_count_as_absent_to_the_depthwise_convolution():
    """Keeping the left half of a picture is what the convolution sees of a picture of that half."""
    model = make_vit(
        ffn="dwconv", pos_embed="none", class_token=False, global_pool="avg", image_size=(16, 32)
    )
    view, images = view_of(model), make_images(image_size=(16, 32))
    left = torch.tensor([[0, 1, 4, 5]]).expand(2, -1)
    kept = model.embed(images)[:, left[0]]
    torch.testing.assert_close(view.classify(kept, (2, 4), left), model(images[..., :16]))
    everything = torch.arange(8).expand(2, -1)
    assert torch.equal(view.classify(model.embed(images), (2, 4), everything), model(images))
    with pytest.raises(ValueError, match="4 of 8 tokens must know which"):
        view.classify(kept, (2, 4))


def test_a_block_alone_computes_what_its_attention_says():
    """The taps stand where the kernel takes and gives: the block's own arithmetic continues from them."""
    block = Block(32, 2, 2.0, "mlp", True, False, None, 0.0, 0.0, 0.0, 1e-6).eval()
    model = make_vit()
    model.blocks = nn.ModuleList([block])
    (layer,), _ = recorded(model, make_images())
    tokens = model.embed(make_images())
    mixed = (layer.probabilities() @ layer.v).transpose(1, 2).flatten(2)
    after = tokens + block.attn.proj(mixed)
    torch.testing.assert_close(block(tokens, (2, 3)), after + block.mlp(block.norm2(after), (2, 3)))
