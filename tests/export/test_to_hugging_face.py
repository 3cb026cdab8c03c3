"""What transformers opens is the model, and its processor looks at pictures as vitlab does."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTForImageClassification

from vitlab.data.augment.crop import centre_view, normalise
from vitlab.data.files.decode import read_image
from vitlab.export.to_hugging_face import write
from vitlab.models.patch_embed import ConvStem

OPTIONS = {
    "plain": {},
    "grey": {"in_channels": 1},
    "no qkv bias": {"qkv_bias": False},
    "transformers' own epsilon": {"norm_eps": 1e-12},
    "fixed positions": {"pos_embed": "sincos_2d"},
    "learned positions on patches only": {"no_embed_class": True},
    "no positions": {"pos_embed": "none"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_transformers_opens_the_folder_whole_and_gives_the_same_logits(
    options, make_model, make_card, tmp_path
):
    model = make_model(**options)
    channels = options.get("in_channels", 3)
    write(model, make_card(in_channels=channels), tmp_path)
    peer, report = ViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert peer.config.id2label == {0: "ash", 1: "birch", 2: "cedar", 3: "fir", 4: "oak"}
    images = torch.randn(3, channels, 32, 32)
    torch.testing.assert_close(peer.eval()(pixel_values=images).logits, model(images), rtol=1e-5, atol=1e-5)
    assert type(AutoModelForImageClassification.from_pretrained(tmp_path)) is ViTForImageClassification


def test_a_model_of_numbers_says_so(make_model, make_card, tmp_path):
    card = make_card()
    card.config["datamodule"] = {"targets": "numbers"}
    write(make_model(), card, tmp_path)
    peer = ViTForImageClassification.from_pretrained(tmp_path)
    assert peer.config.problem_type == "regression" and peer.config.id2label[4] == "oak"


@pytest.mark.parametrize(
    ("stored", "channels", "interpolation", "fit"),
    [
        ((32, 32), 3, "bicubic", "crop"),
        ((64, 64), 3, "bilinear", "crop"),
        ((40, 40), 1, "bicubic", "crop"),
        ((40, 40), 3, "bilinear", "squash"),
    ],
    ids=str,
)
def test_the_processor_sees_a_picture_as_vitlab_does(
    stored, channels, interpolation, fit, make_model, make_card, tmp_path
):
    card = make_card(stored_size=stored, in_channels=channels, interpolation=interpolation, fit=fit)
    facts = card.preprocessing
    write(make_model(in_channels=channels), card, tmp_path)
    rows, columns = np.mgrid[0:90, 0:140]
    pixels = np.stack([2 * rows, columns, 255 * (columns > 70)], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    picture = Image.open(tmp_path / "picture.png").convert({1: "L", 3: "RGB"}[channels])
    theirs = AutoImageProcessor.from_pretrained(tmp_path)(picture, return_tensors="pt")["pixel_values"]
    read = read_image(tmp_path / "picture.png", stored, channels, interpolation, fit=fit)
    stored_pixels = torch.from_numpy(read)[None]
    ours = normalise(centre_view(stored_pixels, (32, 32)), facts.mean, facts.std)
    elsewhere = normalise(centre_view(stored_pixels.roll(2, dims=3), (32, 32)), facts.mean, facts.std)
    assert (theirs - ours).abs().mean() < 0.4 * (theirs - elsewhere).abs().mean()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"patch_embed": ConvStem(8, 3, 64)},
            "format=hf knows linear patches only, and this model has ConvStem",
        ),
        ({"ffn": "dwconv"}, "format=hf knows ffn=mlp only"),
        ({"global_pool": "avg"}, "format=hf has no place for model.global_pool=avg; format=timm"),
        (
            {"reg_tokens": 4, "qk_norm": True},
            "format=hf has no place for model.reg_tokens=4, model.qk_norm=true; format=timm",
        ),
        ({"init_values": 0.1}, "format=hf has no place for layer scale"),
        ({"image_size": (32, 48)}, "format=hf has no place for images of 32 x 48 px"),
    ],
)
def test_what_transformers_has_no_place_for_is_named_with_what_would_work(
    options, says, make_model, make_card, tmp_path
):
    with pytest.raises(ValueError, match=says):
        write(make_model(**options), make_card(), tmp_path)
    assert not list(tmp_path.iterdir())
