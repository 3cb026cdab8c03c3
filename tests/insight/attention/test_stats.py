"""Numbers on attention against closed forms, and alarms for what they are meant for."""

import math

import pytest
import torch
from torch import nn

from vitlab.insight.attention import maps as maps_module
from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.attention.stats import AttentionStats, alarms, attention_stats
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

SIZE = (16, 40)  # 4 x 10 patches of 4 px


def make_vit(image_size=SIZE, depth=2, **options):
    torch.manual_seed(0)
    model = VisionTransformer(
        LinearPatchEmbed(4, 3, 64), image_size, 5, embed_dim=64, depth=depth, num_heads=1, **options
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.2)
    return model.eval()


def make_images(count=2, image_size=SIZE):
    return torch.randn(count, 3, *image_size, generator=torch.Generator().manual_seed(1))


def uniform(model):
    for block in model.blocks:
        nn.init.zeros_(block.attn.qkv.weight)
        nn.init.zeros_(block.attn.qkv.bias)
    return model


class Scripted(nn.Module):
    """Stands in front of the kernel: queries and keys that make token i attend to token `target[i]`, and to
    prefix tokens by `lift`."""

    def __init__(self, attention, target, num_prefix_tokens, lift):
        super().__init__()
        self.is_query, self.num_heads = attention == "q", 1
        one_hot = torch.eye(64)[: len(target)]
        self.tensor = 300.0 * one_hot[target] if self.is_query else one_hot.clone()
        if self.is_query:
            self.tensor[:, -1] = lift
        else:
            self.tensor[:num_prefix_tokens, -1] = 8.0

    def forward(self, x):
        return self.tensor.expand(len(x), 1, -1, -1)


def scripted(model, target, lift=0.0):
    for block in model.blocks:
        block.attn.q_norm = Scripted("q", target, model.num_prefix_tokens, lift)
        block.attn.k_norm = Scripted("k", target, model.num_prefix_tokens, lift)
    return model


def shift_by(columns, num_prefix_tokens):
    """Each patch of the 4 x 10 grid looks `columns` to the right, around the edge; prefix tokens look at
    themselves."""
    patches = torch.arange(40).reshape(4, 10).roll(-columns, dims=1).flatten()
    return torch.cat([torch.arange(num_prefix_tokens), patches + num_prefix_tokens])


@pytest.mark.parametrize(
    "options",
    [{"reg_tokens": 3}, {"class_token": False, "global_pool": "avg"}],
    ids=["class token", "mean pooling"],
)
def test_uniform_attention_has_entropy_1_and_gives_each_token_its_share(options):
    stats = attention_stats(uniform(make_vit(**options)), make_images())
    torch.testing.assert_close(stats.entropy, torch.ones(2, 1))
    prefix = (1, 3) if "reg_tokens" in options else (0, 0)
    num_tokens = 40 + sum(prefix)
    torch.testing.assert_close(stats.class_mass, torch.full((2, 1), prefix[0] / num_tokens))
    torch.testing.assert_close(stats.register_mass, torch.full((2, 1), prefix[1] / num_tokens))
    torch.testing.assert_close(stats.max_logit, torch.zeros(2, 1))
    between = [math.dist(a, b) for a in grid_centres() for b in grid_centres()]
    torch.testing.assert_close(stats.distance, torch.full((2, 1), sum(between) / len(between)))


def grid_centres():
    return [(4.0 * row + 2, 4.0 * column + 2) for row in range(4) for column in range(10)]


@pytest.mark.parametrize("columns", [0, 1, 3])
def test_a_shift_by_n_columns_has_its_distance_in_pixels_however_much_the_prefix_tokens_draw(columns):
    """n columns to the right for 10 - n of them; the others come around from 10 - n columns to the left."""
    expected = 4.0 * (columns * (10 - columns) + (10 - columns) * columns) / 10
    masses = []
    for lift in (-300.0, 0.0, 38.0, 600.0):  # from nothing to everything
        stats = attention_stats(scripted(make_vit(reg_tokens=1), shift_by(columns, 2), lift), make_images())
        torch.testing.assert_close(stats.distance, torch.full((2, 1), expected))
        masses.append(float(stats.class_mass[0] + stats.register_mass[0]))
    assert masses[0] == 0.0
    assert masses[-1] > 0.999999
    assert masses == sorted(masses)


def test_one_hot_attention_has_entropy_0_and_alarms_by_layer_and_head():
    stats = attention_stats(scripted(make_vit(), shift_by(1, 1)), make_images())
    torch.testing.assert_close(stats.entropy, torch.zeros(2, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(stats.max_logit, torch.full((2, 1), 300 / 8))  # scale is 1/8
    lines = alarms(stats)
    assert [line.partition(":")[0] for line in lines] == [
        "attention of layer 1, head 1",
        "attention of layer 2, head 1",
    ]
    assert all(
        "entropy 0.000 is below 0.05" in line and "\n" not in line and "logit" not in line for line in lines
    )


def test_alarms_name_logits_and_nan_and_nothing_else():
    healthy = torch.full((2, 3), 0.4)
    entropy, logit = healthy.clone(), healthy.clone()
    logit[0, 1], logit[1, 2], entropy[1, 2], entropy[1, 0] = 51.0, 80.0, 0.01, math.nan
    stats = AttentionStats(entropy, healthy, healthy, healthy, logit, torch.ones(2, 1, 4))
    assert alarms(stats) == [
        "attention of layer 1, head 2: largest logit 51.0 is above 50",
        "attention of layer 2, head 1: entropy nan is below 0.05",
        "attention of layer 2, head 3: entropy 0.010 is below 0.05 and largest logit 80.0 is above 50",
    ]
    assert alarms(stats._replace(entropy=healthy, max_logit=healthy)) == []


@pytest.mark.parametrize(
    "options",
    [{"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}],
    ids=["class token", "mean pooling"],
)
def test_numbers_follow_from_whole_maps_also_when_the_batch_is_cut(options, monkeypatch):
    model, images = make_vit(**options), make_images(5)
    maps, _, layout = attention_maps(model, images)
    prefix = layout.num_prefix_tokens
    entropy = -(maps * maps.clamp_min(1e-30).log()).sum(dim=-1).mean(dim=(1, 3)) / math.log(layout.num_tokens)
    patches = maps[..., prefix:, prefix:]
    between = torch.tensor([[math.dist(a, b) for b in grid_centres()] for a in grid_centres()])
    distance = ((patches * between).sum(dim=-1) / patches.sum(dim=-1)).mean(dim=(1, 3))
    class_mass = maps[..., prefix:, : layout.num_class_tokens].sum(dim=-1).mean(dim=(1, 3))
    monkeypatch.setattr(maps_module, "WORKING_BYTES", 100_000)
    stats = attention_stats(model, images)
    torch.testing.assert_close(stats.entropy, entropy)
    torch.testing.assert_close(stats.distance, distance)
    torch.testing.assert_close(stats.class_mass, class_mass)
    norms, tokens = [], model.embed(images)
    for block in model.blocks:
        tokens = block(tokens, layout.grid)
        norms.append(tokens.norm(dim=-1))
    torch.testing.assert_close(stats.token_norms, torch.stack(norms).detach())


def test_a_model_of_nan_alarms():
    model = make_vit()
    nn.init.constant_(model.cls_token, math.nan)
    assert len(alarms(attention_stats(model, make_images()))) == 2
