"""What timm opens is the model, and looks at pictures as vitlab does."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from vitlab.data.augment.crop import centre_view, normalise
from vitlab.data.files.decode import read_image
from vitlab.export.plain_vit import plain_vit
from vitlab.export.to_timm import timm_config, timm_weights, write
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

OPTIONS = {
    "plain": {},
    "grey": {"in_channels": 1},
    "oblong": {"image_size": (32, 48)},
    "no qkv bias, and a narrow MLP": {"qkv_bias": False, "mlp_ratio": 1.3},
    "qk norm, layer scale and registers": {"qk_norm": True, "init_values": 1e-4, "reg_tokens": 3},
    "mean pooling": {"global_pool": "avg"},
    "fixed positions beside a class token": {"pos_embed": "sincos_2d"},
    "fixed positions without prefix tokens": {
        "pos_embed": "sinusoidal_1d",
        "class_token": False,
        "global_pool": "avg",
    },
    "positions on patches only": {"no_embed_class": True, "reg_tokens": 2},
    "no positions": {"pos_embed": "none"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_timm_opens_the_folder_and_gives_the_same_logits(options, make_model, make_card, tmp_path):
    model = make_model(**options)
    channels = options.get("in_channels", 3)
    write(model, make_card(image_size=model.image_size, in_channels=channels), tmp_path)
    peer = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert peer.pretrained_cfg["custom_load"] is False  # else timm would look for Google's npz
    assert list(peer.pretrained_cfg["label_names"]) == ["ash", "birch", "cedar", "fir", "oak"]
    images = torch.randn(3, channels, *model.image_size)
    torch.testing.assert_close(peer(images), model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape"), {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}.items()
)
def test_common_sizes_have_timms_name_and_its_state_dict(name, shape, make_card):
    embed_dim, depth, num_heads = shape
    with torch.device("meta"):
        model = VisionTransformer(LinearPatchEmbed(16, 3, embed_dim), 224, 1000, embed_dim, depth, num_heads)
        config = timm_config(plain_vit(model, "timm"), make_card(image_size=(224, 224)))
        peer = timm.create_model(config["architecture"], **config["model_args"])
        named = timm.create_model(f"vit_{name}_patch16_224")
    shapes = {key: tensor.shape for key, tensor in timm_weights(model).items()}
    assert shapes == {key: tensor.shape for key, tensor in peer.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in named.state_dict().items()}
    assert config["architecture"] == f"vit_{name}_patch16_224"


def photograph(path, width, height):
    """Saves a picture with a gradient and an edge, in which a shift of a pixel shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * rows / height, 255 * columns / width, 255 * (columns > width / 2)], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("stored", "interpolation", "fit"),
    [
        ((32, 32), "bicubic", "crop"),
        ((37, 37), "bilinear", "crop"),
        ((64, 64), "bicubic", "crop"),
        ((40, 40), "bicubic", "squash"),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(100, 100), (150, 90), (70, 120)], ids=str)
def test_timms_own_transform_sees_a_picture_as_vitlab_does(
    stored, interpolation, fit, size, make_model, make_card, tmp_path
):
    card = make_card(stored_size=stored, interpolation=interpolation, fit=fit)
    facts = card.preprocessing
    write(make_model(), card, tmp_path)
    file = photograph(tmp_path / "picture.png", *size)
    peer = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    theirs = create_transform(**resolve_data_config({}, model=peer))(Image.open(file))[None]
    pixels = torch.from_numpy(read_image(file, stored, 3, interpolation, fit=fit))[None]
    ours = normalise(centre_view(pixels, (32, 32)), facts.mean, facts.std)
    elsewhere = normalise(centre_view(pixels.roll(2, dims=3), (32, 32)), facts.mean, facts.std)
    assert (theirs - ours).abs().mean() < 0.4 * (
        theirs - elsewhere
    ).abs().mean()  # the scaled picture may be half a pixel wider


def test_timm_scales_to_the_stored_size_for_every_pair_of_sizes(make_model, make_card):
    model = plain_vit(make_model(), "timm")
    for size in (8, 28, 32, 224, 384):
        for stored in range(size, size + 200):
            config = timm_config(model, make_card(image_size=(size, size), stored_size=(stored, stored)))
            keys = ("input_size", "crop_pct", "interpolation")
            transform = create_transform(**{key: config["pretrained_cfg"][key] for key in keys})
            assert transform.transforms[0].size == stored


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"patch_embed": ConvStem(8, 3, 64)},
            "format=timm knows linear patches only, and this model has ConvStem; format=onnx and",
        ),
        (
            {"ffn": "dwconv"},
            (
                "format=timm knows ffn=mlp only, and this model has DepthwiseConvMlp; format=onnx and"
                " format=torch_export"
            ),
        ),
        ({"norm_eps": 1e-5}, "format=timm knows norm_eps=1e-06 only, and this model has 1e-05"),
    ],
)
def test_what_timm_has_no_place_for_is_named_with_what_would_work(
    options, says, make_model, make_card, tmp_path
):
    with pytest.raises(ValueError, match=says):
        write(make_model(**options), make_card(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_says_something_else_is_refused(make_model, make_card, tmp_path):
    model = make_model(pos_embed="sincos_2d")
    model.pos_embed[0, 0] = torch.nan
    with pytest.raises(ValueError, match="format=timm: the exported file's logits differ from the model's"):
        write(model, make_card(), tmp_path)


def test_the_config_is_what_timm_would_write(make_model, make_card, tmp_path):
    write(make_model(reg_tokens=2), make_card(stored_size=(40, 40)), tmp_path)
    peer = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    again = tmp_path / "again"
    timm.models.save_for_hf(peer, again, safe_serialization=True)
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path, again))
    for key in ("architecture", "num_classes", "num_features", "global_pool", "model_args"):
        assert ours[key] == theirs[key], key
    for key, value in theirs["pretrained_cfg"].items():
        if key not in ("file", "label_names", "num_classes"):
            assert ours["pretrained_cfg"][key] == value, key
