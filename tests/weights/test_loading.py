"""Every tensor is accounted for: what differs is resized, adapted or replaced in the open, or refused with
the options that would fit."""

import copy

import pytest
import torch
from timm.models import adapt_input_conv
from torch import nn
from torchvision.models import resnet18, resnet50

from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.resnet_embed import PatchResNet, ResNetStage
from vitlab.models.vit import VisionTransformer
from vitlab.weights.facts import Pretrained, architecture_of
from vitlab.weights.loading import load_pretrained
from vitlab.weights.sources import read_weights

SHAPE = {"embed_dim": 64, "depth": 2, "num_heads": 1}


def vit(patch_embed=None, image_size=32, num_classes=10, **options):
    return VisionTransformer(
        patch_embed or LinearPatchEmbed(8, 3, 64), image_size, num_classes, **SHAPE | options
    )


def weights_of(model, **more):
    return Pretrained(
        "memory", model.state_dict(), architecture_of(model.state_dict()) | {"num_heads": 1}, **more
    )


def kept(account, model):
    """Tensors of the model by what became of them."""
    statuses = ("loaded", "resized", "adapted", "fresh")
    return {
        status: set(account.names(status)) & model.state_dict().keys()
        for status in statuses
        if account.names(status)
    }


def test_the_head_stays_where_the_classes_are_the_same_and_is_new_where_they_are_not():
    weights = weights_of(vit(num_classes=2), class_names=("cat", "dog"))
    for class_names, is_replaced in ((("cat", "dog"), False), (("dog", "cat"), True), (None, False)):
        model = vit(num_classes=2)
        fresh = model.head.weight.clone()
        account = load_pretrained(model, weights, class_names)
        assert torch.equal(model.head.weight, fresh if is_replaced else weights.state["head.weight"])
        assert account.names("replaced") == (["head.weight", "head.bias"] if is_replaced else [])
    account = load_pretrained(vit(num_classes=3), weights, ("cat", "dog", "eel"))
    assert (
        "  replaced    2  2 classes in the file, 3 here: head.weight, head.bias" in str(account).splitlines()
    )


def test_a_head_of_unnamed_classes_is_kept_with_a_word_of_warning():
    named, unnamed = (weights_of(vit(num_classes=2), class_names=names) for names in (("cat", "dog"), None))
    says = "head kept: the file does not name its classes"
    assert says in str(load_pretrained(vit(num_classes=2), unnamed, ("cat", "dog")))
    assert says not in str(load_pretrained(vit(num_classes=2), named, ("cat", "dog")))
    assert says not in str(load_pretrained(vit(num_classes=3), unnamed, ("cat", "dog", "eel")))


def test_a_head_that_is_no_matrix_is_refused():
    weights = weights_of(vit())
    weights.state["head.weight"] = torch.zeros(())
    with pytest.raises(ValueError, match=r"head\.weight is \[\] in the file, \[10, 64\] here"):
        load_pretrained(vit(), weights)


def test_a_block_without_a_number_is_a_tensor_too_many():
    weights = weights_of(vit())
    state = weights.state | {
        "blocks.x.norm1.weight": torch.zeros(64),
        "blocks.99999999999.norm1.bias": torch.zeros(64),
    }
    assert architecture_of(state)["depth"] == 2
    with pytest.raises(ValueError, match=r"blocks\.x\.norm1\.weight is in the file only"):
        load_pretrained(vit(), Pretrained("memory", state, architecture_of(state)))


def test_every_tensor_of_the_file_and_of_the_model_is_in_the_account_once():
    weights = weights_of(vit(image_size=64))
    weights.state["pooler.dense.weight"] = torch.zeros(64, 64)
    model = vit(num_classes=3)
    account = load_pretrained(model, weights)
    listed = [name for names in account.entries.values() for name in names]
    assert sorted(listed) == sorted(weights.state)
    assert account.names("resized") == ["pos_embed"] and account.names("ignored") == ["pooler.dense.weight"]
    assert len(str(account).splitlines()) == 5


def test_half_precision_weights_become_what_the_model_computes_in():
    source = vit()
    weights = weights_of(source.to(torch.bfloat16))
    model = vit(image_size=64)
    load_pretrained(model, weights)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.head.weight, weights.state["head.weight"].float())


MISFITS = {
    "another depth": ({"depth": 3}, "model.depth=2 would fit, and model=pretrained takes all of it"),
    "another width": ({"embed_dim": 32, "patch_embed": LinearPatchEmbed(8, 3, 32)}, "model.embed_dim=64"),
    "another patch": ({"patch_embed": LinearPatchEmbed(16, 3, 64)}, "patch_size=8 would fit"),
    "another number of heads": (
        {"num_heads": 2},
        "num_heads is 1 in the file, 2 here; model.num_heads=1 would fit",
    ),
    "another MLP": ({"mlp_ratio": 2.0}, "blocks.0.mlp.fc1.weight is [256, 64] in the file, [128, 64] here"),
    "mean pooling": ({"global_pool": "avg"}, "model.global_pool=token would fit"),
    "layer scale": ({"init_values": 1e-4}, "model.init_values=null would fit"),
    "QK norm": ({"qk_norm": True}, "blocks.0.attn.q_norm.weight is missing in the file"),
    "registers": ({"reg_tokens": 2}, "model.reg_tokens=0 would fit"),
    "no position for the class token": ({"no_embed_class": True}, "model.no_embed_class=false would fit"),
    "fixed positions": (
        {"pos_embed": "sincos_2d"},
        "pos_embed is learned in the file, and fixed or none here; model.pos_embed=learn would fit",
    ),
    "a convolution in the MLP": ({"ffn": "dwconv"}, "model.ffn=mlp would fit"),
    "another patch embedding": ({"patch_embed": ConvStem(8, 3, 64)}, "patch_embed=linear would fit"),
}


@pytest.mark.parametrize(("change", "says"), MISFITS.values(), ids=MISFITS.keys())
def test_weights_of_another_architecture_are_refused_with_what_would_fit_and_nothing_is_loaded(change, says):
    model = vit(**change)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="does not fit the model") as refusal:
        load_pretrained(model, weights_of(vit()))
    assert says in str(refusal.value) and "\n" not in str(refusal.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_patch_resnet_looks_at_patches_of_the_size_that_it_was_trained_with():
    def embed(patch_size, trunk_size):
        return PatchResNet(
            patch_size, 3, 64, "resnet18", 1, "small", "batch", trunk_size=trunk_size, chunk_size=64
        )

    theirs = {
        "_target_": "vitlab.models.resnet_embed.PatchResNet",
        "patch_size": 8,
        "trunk_size": 16,
        "chunk_size": 8,
    }
    weights = weights_of(vit(embed(8, 16)), patch_embed=theirs)
    load_pretrained(vit(embed(8, 16)), weights)
    load_pretrained(vit(embed(16, 16)), weights)  # other patches, brought to the same size
    for other in (embed(8, None), embed(8, 32), embed(32, None)):
        with pytest.raises(
            ValueError, match=r"patch_embed\.trunk_size is 16 in the file, .* patch_embed\.trunk_size=16"
        ):
            load_pretrained(vit(other), weights)
    load_pretrained(vit(embed(16, None)), weights)


@pytest.fixture(scope="module")
def resnets(tmp_path_factory):
    """Files of torchvision's ResNets, and the networks, all statistics drawn at random."""
    folder, found = tmp_path_factory.mktemp("resnets"), {}
    for build in (resnet18, resnet50):
        network = build().eval()
        for name, value in network.state_dict().items():
            if "running_var" in name:
                value.uniform_(0.5, 1.5)
            elif "running_mean" in name:
                value.normal_(std=0.1)
        torch.save(network.state_dict(), folder / f"{build.__name__}.pth")
        found[build.__name__] = (f"torchvision:{folder}/{build.__name__}.pth", network)
    return found


def hybrid(resnet="resnet18", stages=2, stem="imagenet", norm="batch", in_channels=3):
    return vit(ResNetStage(8, in_channels, 64, resnet, stages, stem, norm)).eval()


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvisions_resnet_fills_the_trunk_and_nothing_else(resnets, name):
    source, network = resnets[name]
    model = hybrid(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    account = load_pretrained(model, read_weights(source))
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    peer = copy.deepcopy(network).double()
    with torch.no_grad():
        stem = peer.maxpool(peer.relu(peer.bn1(peer.conv1(images))))
        found = copy.deepcopy(model.patch_embed.trunk).double()(images)
        torch.testing.assert_close(found, peer.layer2(peer.layer1(stem)), rtol=1e-5, atol=1e-5)
    others = {key for key in before if not key.startswith("patch_embed.trunk.")}
    assert kept(account, model)["fresh"] == others
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in others)
    assert {key.split(".")[2] for key in account.names("ignored")} == {"layer3", "layer4", "fc"}


def test_a_trunk_for_grey_patches_takes_the_sum_over_colours(resnets):
    source, network = resnets["resnet18"]
    model = vit(
        PatchResNet(8, 1, 64, "resnet18", 1, "imagenet", "batch", trunk_size=32, chunk_size=64), image_size=16
    )
    assert load_pretrained(model, read_weights(source)).names("adapted") == ["patch_embed.trunk.conv1.weight"]
    grey = torch.randn(1, 1, 32, 32)
    expected = network.conv1(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(model.patch_embed.trunk.conv1(grey), expected, rtol=1e-5, atol=1e-5)


TRUNKS = {
    "group norm has no statistics": (lambda: hybrid(norm="group"), "patch_embed.norm=batch"),
    "another stem": (lambda: hybrid(stem="small", stages=4), "patch_embed.stem=imagenet"),
    "another ResNet": (lambda: hybrid("resnet34"), "patch_embed.resnet=resnet18"),
    "no trunk": (lambda: vit(), "patch_embed=patch_resnet patch_embed.stem=imagenet patch_embed.norm=batch"),
}


@pytest.mark.parametrize(("build", "says"), TRUNKS.values(), ids=TRUNKS.keys())
def test_a_resnet_that_is_not_the_trunks_is_refused_with_what_would_fit(resnets, build, says):
    with pytest.raises(ValueError, match="does not fit the model") as refusal:
        load_pretrained(build(), read_weights(resnets["resnet18"][0]))
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_tensor_that_no_resnet_has_is_not_taken_for_a_stage_behind_the_cut(resnets, tmp_path):
    _, network = resnets["resnet18"]
    torch.save(network.state_dict() | {"attnpool.weight": torch.zeros(3)}, tmp_path / "more.pth")
    with pytest.raises(ValueError, match=r"patch_embed\.trunk\.attnpool\.weight is in the file only"):
        load_pretrained(hybrid(), read_weights(f"torchvision:{tmp_path}/more.pth"))


def test_old_resnet_files_without_batch_counts_are_taken(resnets, tmp_path):
    _, network = resnets["resnet18"]
    old = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(old, tmp_path / "old.pth")
    account = load_pretrained(hybrid(), read_weights(f"torchvision:{tmp_path}/old.pth"))
    assert "a count that old files lack" in str(account)


def test_a_guessed_number_of_heads_is_not_held_against_the_config():
    model = vit(num_heads=4)
    guessing = weights_of(model, guessed=frozenset({"num_heads"}))
    account = load_pretrained(vit(num_heads=4), guessing)
    assert "num_heads=4 here; the file does not tell, 1 would be usual" in str(account)


def test_of_a_model_that_is_no_vit_names_and_shapes_decide():
    source, model = nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 4))
    load_pretrained(model, Pretrained("memory", source.state_dict(), {}))
    assert torch.equal(model[0].weight, source[0].weight)
    with pytest.raises(ValueError, match=r"0\.weight is"):
        load_pretrained(nn.Sequential(nn.Linear(5, 4)), Pretrained("memory", source.state_dict(), {}))


@pytest.mark.parametrize("in_channels", [1, 2, 4, 5, 13])
def test_colour_filters_fit_any_number_of_channels_as_timm_fits_them(in_channels):
    pretrained, model = vit(), vit(LinearPatchEmbed(8, in_channels, 64))
    account = load_pretrained(model, weights_of(pretrained))
    filters = pretrained.patch_embed.proj.weight.detach()
    torch.testing.assert_close(model.patch_embed.proj.weight.detach(), adapt_input_conv(in_channels, filters))
    assert account.names("adapted") == ["patch_embed.proj.weight"]
