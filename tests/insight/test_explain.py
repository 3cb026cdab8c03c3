"""Methods against plain references that keep attention in the graph, against closed forms, and as good guests
of a model."""

import sys
import weakref

import jaxtyping
import pytest
import timm
import torch
from torch import nn

from vitlab.insight.attention import maps
from vitlab.insight.attention.capture import Layer
from vitlab.insight.explain import CLASS_SPECIFIC, METHODS, explain
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

ATTENTION_ONLY = sorted(set(METHODS) - CLASS_SPECIFIC - {"random"})


def make_vit(image_size=(12, 8), depth=3, num_heads=2, **options):
    """A small ViT whose attention is far from uniform."""
    torch.manual_seed(0)
    model = VisionTransformer(
        LinearPatchEmbed(4, 3, 16), image_size, 5, embed_dim=16, depth=depth, num_heads=num_heads, **options
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.4)
    return model.eval()


MODELS = {
    "class token and registers": {"reg_tokens": 2},
    "mean pooling": {"class_token": False, "global_pool": "avg"},
    "mean pooling beside a class token, normalised queries": {"global_pool": "avg", "qk_norm": True},
    "depthwise convolution": {"ffn": "dwconv", "init_values": 0.5},
}


@pytest.fixture(params=list(MODELS))
def model(request):
    return make_vit(**MODELS[request.param])


@pytest.fixture
def images():
    return torch.randn(3, 3, 12, 8, generator=torch.Generator().manual_seed(1))


class Explicit:
    """One image through the model's own weights, with attention as a tensor in the graph."""

    def __init__(self, model, image, target):
        image = image[None].clone().requires_grad_()
        self.attention, grid = [], model.grid
        x = model.embed(image)
        for block in model.blocks:
            entering = x
            q, k, v = (
                block.attn.qkv(block.norm1(x))
                .unflatten(-1, (3, block.attn.num_heads, -1))
                .permute(2, 0, 3, 1, 4)
            )
            q, k = block.attn.q_norm(q), block.attn.k_norm(k)
            attention = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
            self.attention.append(attention)
            x = x + block.ls1(block.attn.proj((attention @ v).transpose(1, 2).flatten(2)))
            x = x + block.ls2(block.mlp(block.norm2(x), grid))
        logits = model.forward_head(model.norm(x))[0]
        self.target = logits.argmax() if target is None else target
        *slopes, self.entering_slope, self.image_slope = torch.autograd.grad(
            logits[self.target], [*self.attention, entering, image]
        )
        self.attention, self.slopes = [a[0].detach() for a in self.attention], [slope[0] for slope in slopes]
        self.entering, self.image, self.first_patch = (
            entering.detach(),
            image.detach(),
            model.num_prefix_tokens,
        )
        self.readout = torch.zeros(x.shape[1])
        if model.global_pool == "token":
            self.readout[0] = 1
        else:
            self.readout[self.first_patch :] = 1 / (grid[0] * grid[1])

    def rolled(self, fused):
        """Multiplies (A + I), rows normalised, over the layers."""
        result = torch.eye(len(self.readout))
        for matrix in fused:
            step = matrix + torch.eye(len(matrix))
            result = (step / step.sum(dim=1, keepdim=True)) @ result
        return self.readout @ result

    def attention_map(self):
        return self.readout @ self.attention[-1].mean(dim=0)

    def rollout(self):
        return self.rolled([a.mean(dim=0) for a in self.attention])

    def rollout_max(self):
        return self.rolled([a.max(dim=0).values for a in self.attention])

    def rollout_discard(self):
        def largest_tenth(fused):
            kept = torch.zeros(fused.numel())
            order = fused.flatten().argsort(descending=True)[: round(fused.numel() / 10)]
            kept[order] = fused.flatten()[order]
            return kept.view_as(fused)

        return self.rolled([largest_tenth(a.max(dim=0).values) for a in self.attention])

    def grad_rollout(self):
        return self.rolled(
            [(a * g).mean(dim=0).relu() for a, g in zip(self.attention, self.slopes, strict=True)]
        )

    def relevance(self):
        start = torch.eye(len(self.readout))
        result = start
        for a, g in zip(self.attention, self.slopes, strict=True):
            result = result + (g * a).relu().mean(dim=0) @ result
        return self.readout @ (result - start)

    def grad_cam(self):
        patches, slopes = self.entering[0, self.first_patch :], self.entering_slope[0, self.first_patch :]
        values = torch.zeros(len(self.readout))
        values[self.first_patch :] = (patches @ slopes.mean(dim=0)).relu()
        return values

    def input_gradient(self):
        product = (self.image * self.image_slope)[0].sum(dim=0)
        patches = [
            product[top : top + 4, left : left + 4].sum().abs() for top in (0, 4, 8) for left in (0, 4)
        ]
        return torch.cat([torch.zeros(self.first_patch), torch.stack(patches)])

    def heatmap(self, method):
        values = (self.attention_map if method == "attention" else getattr(self, method))()[
            self.first_patch :
        ]
        return (values / values.sum() if values.any() else torch.full_like(values, 1 / 6)).view(3, 2)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "random"])
def test_the_map_is_that_of_a_plain_reference_with_attention_in_the_graph(model, images, method):
    target = torch.tensor([4, 0, 2])
    maps = explain(model, images, method, target)
    for index, image in enumerate(images):
        expected = Explicit(model, image, target[index]).heatmap(method)
        torch.testing.assert_close(maps[index], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_that_is_too_large_to_run_at_once_gives_the_same_maps(images, method, monkeypatch):
    model, target = make_vit(), torch.tensor([4, 0, 2])
    expected = explain(model, images, method, target)
    monkeypatch.setattr(maps, "WORKING_BYTES", 1)
    num_runs = []
    model.norm.register_forward_hook(lambda *_: num_runs.append(1))
    torch.testing.assert_close(explain(model, images, method, target), expected, rtol=1e-4, atol=1e-6)
    assert len(num_runs) == (0 if method == "random" else 3)


@pytest.mark.parametrize("method", sorted(CLASS_SPECIFIC))
def test_the_target_is_the_predicted_class_also_where_that_was_computed_in_inference_mode(images, method):
    model = make_vit()
    with torch.inference_mode():
        predicted = model(images).argmax(dim=1)
        assert torch.equal(explain(model, images, method, predicted), explain(model, images, method))


def test_attention_times_gradient_of_one_layer_exists_at_a_time(images, monkeypatch):
    """Of whole matrices, which grow with the square of the tokens, no more than a few live at once, however
    deep the model."""
    model, alive = make_vit(depth=8), []
    compute = Layer.probabilities

    def probabilities(layer, *arguments):
        result = compute(layer, *arguments)
        alive.append(weakref.ref(result))
        return result

    monkeypatch.setattr(Layer, "probabilities", probabilities)
    most = []
    explaining = sys.modules[explain.__module__]
    compute_gradients = explaining.attention_gradients

    def gradients(layers, objective):
        for gradient in compute_gradients(layers, objective):
            alive.append(weakref.ref(gradient))
            most.append(sum(reference() is not None for reference in alive))
            yield gradient

    monkeypatch.setattr(explaining, "attention_gradients", gradients)
    explain(model, images, "relevance")
    assert len(most) == 8 and max(most) <= 3


@pytest.mark.parametrize("method", ATTENTION_ONLY)
def test_uniform_attention_gives_a_uniform_map(model, images, method):
    for block in model.blocks:
        nn.init.zeros_(block.attn.qkv.weight)
        nn.init.zeros_(block.attn.qkv.bias)
        nn.init.zeros_(block.attn.q_norm.weight) if hasattr(block.attn.q_norm, "weight") else None
    torch.testing.assert_close(explain(model, images, method), torch.full((3, 3, 2), 1 / 6))


@pytest.mark.parametrize("method", ["rollout", "rollout_max", "rollout_discard"])
def test_tokens_that_look_at_themselves_only_leave_what_the_head_reads(images, method):
    # orthogonal positions of great length, as queries and keys, make attention the identity
    model = make_vit(
        image_size=(12, 8), depth=2, num_heads=1, class_token=False, global_pool="avg", pos_embed="learn"
    )
    nn.init.zeros_(model.patch_embed.proj.weight)
    model.pos_embed.data = 100 * torch.eye(16)[:6][None]
    for block in model.blocks:
        block.attn.qkv.weight.data = torch.cat([30 * torch.eye(16), 30 * torch.eye(16), torch.zeros(16, 16)])
        nn.init.zeros_(block.attn.qkv.bias)
        for dense in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(dense.weight)
            nn.init.zeros_(dense.bias)
    nn.init.zeros_(model.patch_embed.proj.bias)
    torch.testing.assert_close(explain(model, images, method), torch.full((3, 3, 2), 1 / 6))


@pytest.mark.parametrize("method", sorted(CLASS_SPECIFIC))
def test_without_any_evidence_all_patches_share_alike(images, method):
    model = make_vit()
    nn.init.zeros_(model.head.weight)
    torch.testing.assert_close(explain(model, images, method), torch.full((3, 3, 2), 1 / 6))


@pytest.mark.parametrize("method", METHODS)
def test_only_class_specific_maps_follow_the_target(images, method):
    model = make_vit()
    one, other = (explain(model, images, method, torch.full((3,), label)) for label in (0, 3))
    assert torch.equal(one, other) == (method not in CLASS_SPECIFIC)


@pytest.mark.parametrize("method", METHODS)
def test_the_model_the_images_and_the_generator_are_left_as_they_were(images, method):
    model = make_vit(drop_rate=0.5, pos_drop_rate=0.5).train()
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    state, before = torch.get_rng_state(), images.clone()
    with torch.inference_mode():  # as a validation loop would call it
        trained = explain(model, images, method)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(images, before) and not images.requires_grad
    torch.testing.assert_close(trained, explain(model.eval(), images, method))


@pytest.mark.parametrize("method", sorted(CLASS_SPECIFIC))
def test_a_model_with_frozen_weights_can_be_asked_too(images, method):
    model = make_vit()
    expected = explain(model, images, method)
    torch.testing.assert_close(explain(model.requires_grad_(False), images, method), expected)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "random"])
def test_in_bfloat16_the_map_stays_close(images, method):
    model = make_vit()
    target = model(images).argmax(dim=1)
    expected = explain(model, images, method, target)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = explain(model, images, method, target)
    half = explain(model.bfloat16(), images.bfloat16(), method, target)
    for found in (mixed, half):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.1, atol=0.05)


def test_compiled_attention_gives_the_same_maps_without_being_compiled_again(images, monkeypatch):
    # torch 2.10 cannot compile beartype's checks, which a run does not have either
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model = make_vit(depth=1)
    methods = ("rollout", "relevance")  # without gradients and with
    expected = [explain(model, images, method) for method in methods]
    compiled = []
    model.blocks[0].attn.compile(backend=lambda graph, _: compiled.append(graph) or graph)
    with torch.no_grad():
        model(images)
        count = len(compiled)
        found = [explain(model, images, method) for method in methods]
        model(images)
    assert len(compiled) == count > 0
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_input_times_gradient_of_a_linear_model_is_what_each_patch_adds(images):
    model = make_vit(depth=1, class_token=False, global_pool="avg", pos_embed="none")
    for dense in (model.blocks[0].attn.proj, model.blocks[0].mlp.fc2):
        nn.init.zeros_(dense.weight)
        nn.init.zeros_(dense.bias)
    model.fc_norm = nn.Identity()
    target = torch.tensor([1, 1, 1])
    logits = model(images)[:, 1]
    changes = torch.zeros(3, 3, 2)
    for row in range(3):
        for column in range(2):
            without = images.clone()
            without[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
            changes[:, row, column] = (logits - model(without)[:, 1]).abs().detach()
    expected = changes / changes.sum(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(
        explain(model, images, "input_gradient", target), expected, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("method", METHODS)
def test_timms_model_with_the_same_weights_has_the_same_map(images, method):
    model = make_vit(reg_tokens=2, qk_norm=True)
    sizes = {
        "img_size": (12, 8),
        "patch_size": 4,
        "num_classes": 5,
        "embed_dim": 16,
        "depth": 3,
        "num_heads": 2,
    }
    other = timm.models.VisionTransformer(**sizes, reg_tokens=2, qk_norm=True)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(
        explain(other, images, method), explain(model, images, method), rtol=1e-3, atol=1e-5
    )


def test_random_maps_follow_from_the_image_alone_and_differ_between_images(images):
    one, other = explain(make_vit(), images, "random"), explain(make_vit(depth=1), images, "random")
    assert torch.equal(one, other) and (one >= 0).all()
    torch.testing.assert_close(one.sum(dim=(1, 2)), torch.ones(3))
    assert (one[0] != one[1]).all() and (one[1] != one[2]).all()


@pytest.mark.parametrize(
    ("method", "target", "complaint"),
    [
        ("rolout", None, "method=rolout is unknown"),
        ("relevance", torch.tensor([0, 1, 5]), "0 to 4"),
    ],
)
def test_a_bad_request_says_what_would_work(images, method, target, complaint):
    with pytest.raises(ValueError, match=complaint):
        explain(make_vit(), images, method, target)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "random"])
def test_a_model_that_gives_nan_is_an_error_and_no_map(images, method):
    model = make_vit()
    model.patch_embed.proj.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        explain(model, images, method)
