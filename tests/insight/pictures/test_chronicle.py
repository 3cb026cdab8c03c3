"""A frame has the pictures that its model can have, and says nothing where nothing can be said."""

import math

import numpy as np
import pytest
import torch

from vitlab.gallery.chronicle import Chronicle, Measured, stats_scalars
from vitlab.gallery.look import METHODS_SHOWN, explained, look_into
from vitlab.insight.attention.stats import alarms, attention_stats
from vitlab.insight.views.view_of import view_of
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.resnet_embed import PatchResNet, ResNetStage
from vitlab.models.vit import VisionTransformer

ALWAYS = {
    "attention/overview",
    "attention/heads",
    "attention/layers_x_heads",
    "attention/evolution",
    "weights/patch_filters",
}
ALWAYS |= {"features/pca", "tokens/norm", "attention/map_entropy", "attention/map_distance"}
MEAN_POOLING = {"class_token": False, "global_pool": "avg"}


def make_vit(patch_embed=None, size=8, num_classes=10, **options):
    torch.manual_seed(0)
    return VisionTransformer(
        patch_embed or LinearPatchEmbed(4, 1, 16), size, num_classes, 16, 2, 2, **options
    ).eval()


def look_at(model, num_images=3, class_names="abcdefghij"):
    """A frame, and the numbers and alarms that stand beside it."""
    images = torch.randn(num_images, 1, *model.image_size, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(num_images) % model.num_classes
    photographs = [np.full((*model.image_size, 3), 90, dtype=np.uint8)] * min(num_images, 2)
    view, stats = view_of(model), attention_stats(model, images)
    chronicle = Chronicle(images, labels, photographs, list(class_names))
    frame = chronicle.frame(view, stats, "step 0", chronicle.measure(view))
    return frame.pictures, frame.scalars | stats_scalars(stats), alarms(stats)


MODELS = {
    "class token": make_vit,
    "mean pooling": lambda: make_vit(**MEAN_POOLING),
    "registers": lambda: make_vit(reg_tokens=3),
    "fixed positions": lambda: make_vit(pos_embed="sincos_2d"),
    "no positions": lambda: make_vit(pos_embed="none"),
    "convolution in the MLP": lambda: make_vit(ffn="dwconv"),
    "convolutional stem": lambda: make_vit(ConvStem(4, 1, 16)),
    "ResNet on patches": lambda: make_vit(PatchResNet(4, 1, 16, "resnet18", 1, "small", "group", None, 64)),
    "ResNet on images": lambda: make_vit(ResNetStage(4, 1, 16, "resnet18", 1, "small", "group")),
    "images that are not square": lambda: make_vit(size=(8, 12)),
    "one patch": lambda: make_vit(size=4),
    "one patch and no other token": lambda: make_vit(size=4, **MEAN_POOLING),
    "one class": lambda: make_vit(num_classes=1),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_gets_the_pictures_that_it_has_and_numbers_without_nan(kind):
    model = MODELS[kind]()
    pictures, scalars, lines = look_at(model)
    expected = ALWAYS | ({"attention/map_prefix_mass"} if model.num_prefix_tokens else set())
    assert set(pictures) == expected | (set() if model.pos_embed is None else {"weights/position_similarity"})
    assert all(map(math.isfinite, scalars.values()))
    assert not lines  # an untrained model's attention has not collapsed


def test_of_one_image_nothing_is_said_that_takes_several():
    pictures, scalars, _ = look_at(make_vit(), num_images=1)
    assert set(pictures) >= ALWAYS
    assert not any("specificity" in name or "gain" in name for name in scalars) and all(
        map(math.isfinite, scalars.values())
    )


def test_scores_that_are_known_already_are_shown_and_not_measured_again():
    model, images = make_vit(), torch.randn(4, 1, 8, 8)
    view, stats = view_of(model), attention_stats(model, images)
    chronicle = Chronicle(images, torch.arange(4), [np.zeros((8, 8, 3), dtype=np.uint8)], list("abcdefghij"))
    heatmaps, proofs = chronicle.measure(view)
    told = {name: proof._replace(deletion_gain=0.5, deletion_gain_se=0.125) for name, proof in proofs.items()}
    scalars = chronicle.frame(view, stats, "step 0", Measured(heatmaps, told)).scalars
    assert {scalars[f"attention/{name}_deletion_gain"] for name in heatmaps} == {0.5}


RED = (190, 40, 40)


def test_every_frame_says_of_each_method_whether_it_was_found_better_than_random():
    model, images = make_vit(), torch.randn(4, 1, 8, 8)
    view, stats = view_of(model), attention_stats(model, images)
    chronicle = Chronicle(images, torch.arange(4), [np.zeros((8, 8, 3), dtype=np.uint8)], list("abcdefghij"))
    heatmaps, proofs = chronicle.measure(view)
    good, bad = (
        {name: proof._replace(deletion_gain=gain, deletion_gain_se=0.01) for name, proof in proofs.items()}
        for gain in (0.5, -0.5)
    )
    frames = [
        chronicle.frame(view, stats, "step 5", Measured(heatmaps, one)).pictures for one in (good, bad, {})
    ]
    for tag in ("attention/overview", "attention/evolution"):
        praised, blamed, unjudged = (frame[tag] for frame in frames)
        red = [int((picture == RED).all(axis=2).sum()) for picture in (praised, blamed, unjudged)]
        assert red[1] > max(red[0], red[2])  # a wrong answer is red too
        assert not np.array_equal(praised, unjudged[: len(praised)])  # silence is no praise
    assert len({frame["attention/evolution"].shape for frame in frames}) == 1  # an animation does not jump


def test_layers_and_methods_of_the_overview_are_on_one_scale():
    look = look_into(
        make_vit(),
        torch.randn(3, 1, 8, 8),
        torch.arange(3),
        explained(make_vit(), torch.randn(3, 1, 8, 8), METHODS_SHOWN),
    )
    among = look.among_patches()
    assert torch.allclose(among.mean(dim=(2, 3)), torch.ones(2, 3))
    whole = look.in_uniform().mean(dim=2)  # of all tokens
    assert torch.allclose(among * whole.mean(dim=(2, 3), keepdim=True), whole, atol=1e-5)
    on_patches = whole.sum(dim=(2, 3)) / look.layout.num_tokens
    assert torch.allclose(look.mass_elsewhere(), 1 - on_patches.mean(dim=1), atol=1e-5)
