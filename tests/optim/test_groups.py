"""Layer-wise learning rates against timm's, and what may be frozen."""

import pytest
import timm.models.vision_transformer as timm_vit
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from vitlab import optim
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.optim.groups import layer_scales

SHAPE = {"embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 5}


def ours(**options):
    return VisionTransformer(LinearPatchEmbed(4, 3, 16), 8, **SHAPE, **options)


def make_adamw(model, layer_decay, frozen=()):
    return optim.adamw(model.named_parameters(), 1e-3, 0.05, (0.9, 0.999), layer_decay, list(frozen))


def make_sgd(model, layer_decay, frozen=()):
    return optim.sgd(model.named_parameters(), 1e-3, 0.05, 0.9, False, layer_decay, list(frozen))


def make_muon(model, layer_decay, frozen=()):
    return optim.muon(
        model.named_parameters(), 1e-3, 0.05, 0.95, 1e-3, (0.9, 0.999), layer_decay, list(frozen)
    )


OPTIMIZERS = {"adamw": make_adamw, "sgd": make_sgd, "muon": make_muon}


def by_name(model, groups):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: group for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.parametrize(
    "options", [{}, {"global_pool": "avg", "class_token": False}, {"reg_tokens": 2, "qk_norm": True}], ids=str
)
def test_layer_decay_gives_each_parameter_timms_scale_and_weight_decay(make, options):
    model = ours(**options)
    theirs = timm_vit.VisionTransformer(img_size=8, patch_size=4, **SHAPE, **options)
    tables = ["cls_token", "pos_embed", "reg_token"]
    expected = by_name(
        theirs, param_groups_layer_decay(theirs, 0.05, no_weight_decay_list=tables, layer_decay=0.7)
    )
    own = by_name(model, make(model, 0.7).param_groups)
    assert own.keys() == expected.keys()
    for name, group in own.items():
        assert group["lr_scale"] == pytest.approx(expected[name]["lr_scale"], rel=1e-12), name
        assert group["weight_decay"] == expected[name]["weight_decay"], name
        assert group["lr"] == pytest.approx(1e-3 * group["lr_scale"], rel=1e-12), name


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_one_step_under_layer_decay_is_the_plain_step_times_the_scale(make):
    steps = {}
    for layer_decay in (1.0, 0.5):
        torch.manual_seed(0)
        model = ours()
        optimizer = make(model, layer_decay)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        model(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))).square().mean().backward()
        optimizer.step()
        steps[layer_decay] = {
            name: parameter.detach() - before[name] for name, parameter in model.named_parameters()
        }
    scales = layer_scales(list(steps[1.0]), 0.5)
    for name, step in steps[1.0].items():
        torch.testing.assert_close(steps[0.5][name], step * scales[name], rtol=1e-3, atol=1e-7)
    assert {scales["patch_embed.proj.weight"], scales["blocks.0.norm1.bias"], scales["head.bias"]} == {
        0.5**4,
        0.5**3,
        1.0,
    }


def test_a_larger_patch_embedding_counts_as_one_layer():
    model = VisionTransformer(ConvStem(8, 3, 16), 16, **SHAPE)
    scales = layer_scales([name for name, _ in model.named_parameters()], 0.5)
    assert {scale for name, scale in scales.items() if name.startswith("patch_embed.")} == {0.5**4}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_names_freeze_whole_modules_and_no_neighbours(make):
    model = VisionTransformer(LinearPatchEmbed(4, 3, 16), 8, 5, 16, 11, 2)
    frozen = {
        name
        for name, group in by_name(model, make(model, 0.9, ["blocks.1", "cls_token"]).param_groups).items()
        if group["frozen"]
    }
    assert frozen == {"cls_token"} | {
        name for name, _ in model.named_parameters() if name.startswith("blocks.1.")
    }


def test_a_frozen_name_that_fits_nothing_is_refused_with_what_there_is():
    says = (
        r"the model has nothing called patch_embed.trunk; .*there are cls_token, pos_embed, patch_embed,"
        r" blocks, norm, head"
    )
    with pytest.raises(ValueError, match=says):
        make_adamw(ours(), 1.0, ["patch_embed.trunk"])
    with pytest.raises(ValueError, match=r"nothing called block; did you mean blocks\?"):
        make_adamw(ours(), 1.0, ["block"])


def test_freezing_everything_is_refused():
    with pytest.raises(ValueError, match="leaves nothing to train"):
        make_adamw(ours(), 1.0, ["cls_token", "pos_embed", "patch_embed", "blocks", "norm", "head"])


@pytest.mark.parametrize("layer_decay", [0.0, -0.5, 1.5, float("nan")])
def test_a_layer_decay_that_is_no_share_is_refused(layer_decay):
    with pytest.raises(ValueError, match=r"optimizer.layer_decay=.* must be above 0 and at most 1"):
        make_adamw(ours(), layer_decay)


def test_layer_decay_without_blocks_is_refused_and_off_it_is_not():
    layer = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="no `blocks` to count"):
        make_adamw(layer, 0.75)
    assert len(make_adamw(layer, 1.0).param_groups) == 2
