"""Models of other libraries by their names: what is not one is refused, and weights are fetched for a new run
alone."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from vitlab.construct import build_model
from vitlab.models.by_name import timm_model, torchvision_model

TIMM = {
    "_target_": "vitlab.models.by_name.timm_model",
    "name": "test_resnet",
    "num_classes": 3,
    "in_channels": 1,
}
TIMM |= {"image_size": 32, "pretrained": True}


def test_pretrained_weights_come_from_the_hubs_cache_for_a_new_run_and_not_where_a_checkpoint_is_opened(
    tmp_path, monkeypatch
):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    torch.manual_seed(7)
    theirs = timm.create_model("test_resnet")
    folder = tmp_path / "models--timm--test_resnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    save_file(theirs.state_dict(), folder / "snapshots" / ("a" * 40) / "model.safetensors")
    new, opened = (
        build_model({"seed": 0, "model": TIMM}, is_new=True),
        build_model({"seed": 0, "model": TIMM}),
    )
    torch.testing.assert_close(new.conv1[0].weight, theirs.conv1[0].weight.sum(dim=1, keepdim=True))
    assert not torch.allclose(opened.conv1[0].weight, new.conv1[0].weight)
    assert new.fc.out_features == 3
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="test_resnet with num_classes=3, in_chans=1, pretrained=True"):
        build_model({"seed": 0, "model": TIMM}, is_new=True)


@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (timm_model, "convnext_ato", "timm has no such classifier; did you mean convnext_atto"),
        (timm_model, "hf-hub:someone/something", "timm has no such classifier"),
        (timm_model, "local-dir:.", "timm has no such classifier"),
        (torchvision_model, "resnet18", "torchvision's models take 3 channels, and data.in_channels=1"),
        (torchvision_model, "fcn_resnet50", "torchvision has no such classifier"),
    ],
)
def test_what_is_no_classifier_for_these_images_is_refused_in_a_line(make, name, says):
    with pytest.raises(ValueError, match=says) as refusal:
        make(name, 3, 1, 32)
    assert "\n" not in str(refusal.value)
