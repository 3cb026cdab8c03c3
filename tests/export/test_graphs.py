"""ONNX and torch's own format hold every kind of model, the hybrids too, for any number of images at once."""

import json

import onnx
import onnxruntime
import pytest
import torch

from vitlab.export import to_onnx, to_torch_export
from vitlab.models.patch_embed import ConvStem
from vitlab.models.resnet_embed import PatchResNet, ResNetStage

KINDS = {
    "plain": dict,
    "qk norm, layer scale and registers": lambda: {"qk_norm": True, "init_values": 1e-4, "reg_tokens": 2},
    "depthwise convolution, fixed positions and mean pooling": lambda: {
        "ffn": "dwconv",
        "pos_embed": "sincos_2d",
        "global_pool": "avg",
    },
    "conv stem": lambda: {"patch_embed": ConvStem(8, 3, 64)},
    "ResNet stage": lambda: {"patch_embed": ResNetStage(8, 3, 64, "resnet18", 2, "small", "group")},
    "patch ResNet": lambda: {"patch_embed": PatchResNet(8, 3, 64, "resnet18", 1, "small", "batch", None, 20)},
}

by_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@by_kind
def test_onnxruntime_gives_the_same_logits_for_any_number_of_images_and_exporting_is_quiet(
    kind, make_model, make_card, tmp_path, capfd
):
    model, card = make_model(depth=1, **kind()), make_card()
    to_onnx.write(model, card, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for count in (1, 5):
        images = torch.randn(count, 3, 32, 32)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(images).detach(), rtol=1e-4, atol=1e-4)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["class_names"]) == card.class_names
    assert json.loads(told["preprocessing"])["mean"] == list(card.preprocessing.mean)


@by_kind
def test_torchs_own_file_gives_the_same_logits_for_any_number_of_images(
    kind, make_model, make_card, tmp_path
):
    model = make_model(depth=1, **kind())
    to_torch_export.write(model, make_card(), tmp_path)
    reread = torch.export.load(tmp_path / "model.pt2").module()
    for count in (1, 5):
        images = torch.randn(count, 3, 32, 32)
        torch.testing.assert_close(reread(images), model(images), rtol=1e-5, atol=1e-5)


def test_the_version_of_onnxs_operators_can_be_chosen_or_is_refused(make_model, make_card, tmp_path):
    to_onnx.write(make_model(depth=1), make_card(), tmp_path, opset=18)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 18
    for opset in (9, 99):
        with pytest.raises(ValueError, match=f"opset={opset} cannot be written; 18 to .* would work"):
            to_onnx.write(make_model(depth=1), make_card(), tmp_path, opset=opset)


def test_onnx_weights_too_large_for_one_file_lie_beside_it(make_model, make_card, tmp_path, monkeypatch):
    monkeypatch.setattr(to_onnx, "ONE_FILE", 1000)
    model = make_model(depth=1)
    (tmp_path / "part").mkdir()
    to_onnx.write(model, make_card(), tmp_path / "part")
    folder = (tmp_path / "part").rename(tmp_path / "whole")
    assert (folder / "model.onnx").stat().st_size < (folder / "model.onnx.data").stat().st_size
    images = torch.randn(1, 3, 32, 32)
    (logits,) = onnxruntime.InferenceSession(folder / "model.onnx").run(
        ["logits"], {"images": images.numpy()}
    )
    torch.testing.assert_close(torch.from_numpy(logits), model(images).detach(), rtol=1e-4, atol=1e-4)
