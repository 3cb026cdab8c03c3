"""Names on a hub: its cache is used, what lies there is checked, and without a network one line says what to do."""

import dataclasses
import hashlib
import json
import subprocess
import sys
import urllib.request

import huggingface_hub.constants
import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from vitlab.models.resnet_embed import ResNetStage
from vitlab.models.vit import VisionTransformer
from vitlab.weights.loading import load_pretrained
from vitlab.weights.sources import read_weights


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """Puts files of a repository into an otherwise empty cache of the hub, as a download would, without a network from then on."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(repo, **files):
        folder, revision = tmp_path / "hub" / f"models--{repo.replace('/', '--')}", "0" * 40
        blobs, snapshot = folder / "blobs", folder / "snapshots" / revision
        for directory in (blobs, snapshot, folder / "refs"):
            directory.mkdir(parents=True)
        (folder / "refs" / "main").write_text(revision)
        for name, file in files.items():
            content = file.read_bytes()
            blob = blobs / hashlib.sha256(content).hexdigest()
            blob.write_bytes(content)
            (snapshot / name.replace("_json", ".json").replace("_safetensors", ".safetensors")).symlink_to(blob)
        return blobs

    return put


def test_a_cached_timm_repository_is_read_and_a_damaged_file_in_it_refused(hub_cache, tmp_path, pretrained_file):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"architecture": "vit_tiny_patch16_224", "model_args": {"num_heads": 1}}))
    blobs = hub_cache("timm/small.random", model_safetensors=pretrained_file, config_json=config)
    weights = read_weights("timm:small.random")
    assert weights.architecture["depth"] == 2 and not weights.guessed

    blob = blobs / hashlib.sha256(pretrained_file.read_bytes()).hexdigest()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1  # a damage that the format itself would not notice
    blob.write_bytes(content)
    with pytest.raises(ValueError, match=f"{blob.name} is damaged .* remove it"):
        read_weights("timm:small.random")


def test_a_cached_hugging_face_repository_needs_no_image_processor(hub_cache, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    peer = ViTForImageClassification(ViTConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8))
    peer.save_pretrained(tmp_path)
    hub_cache("someone/vit", model_safetensors=tmp_path / "model.safetensors", config_json=tmp_path / "config.json")
    weights = read_weights("hf:someone/vit")
    assert weights.preprocessing is None and weights.architecture["image_size"] == 32
    assert torch.equal(weights.state["head.weight"], peer.classifier.weight)


@pytest.mark.parametrize(("source", "says"), [
    ("timm:vit_none.x", "put the files of https://huggingface.co/timm/vit_none.x into a folder and give timm:FOLDER"),
    ("hf:someone/none", "put the files of https://huggingface.co/someone/none into a folder and give hf:FOLDER"),
    ("hf:no name at all", "check the name"),
])  # fmt: skip
def test_without_a_network_one_line_says_where_files_may_come_from(hub_cache, source, says):
    with pytest.raises(ValueError, match="download failed") as refusal:
        read_weights(source)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.fixture
def torch_cache(tmp_path, monkeypatch):
    """An empty cache of torch's."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_torchvisions_weights_are_fetched_checked_and_come_with_their_preprocessing(torch_cache, tmp_path, monkeypatch):
    network = resnet18()
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    published = tmp_path / f"resnet18-{hashlib.sha256((tmp_path / 'resnet18.pth').read_bytes()).hexdigest()[:8]}.pth"
    (tmp_path / "resnet18.pth").rename(published)
    entry = dataclasses.replace(ResNet18_Weights.DEFAULT.value, url=published.as_uri())
    monkeypatch.setattr(ResNet18_Weights.DEFAULT, "_value_", entry)
    weights = read_weights("torchvision:resnet18")
    facts = ResNet18_Weights.DEFAULT.transforms()
    assert weights.preprocessing.mean == facts.mean and weights.preprocessing.interpolation == "bilinear"
    assert weights.preprocessing.image_size == 224 and weights.preprocessing.crop_pct == 224 / 256
    model = VisionTransformer(ResNetStage(16, 3, 64, "resnet18", 2, "imagenet", "batch"), 32, 10, 64, 1, 1)
    load_pretrained(model, weights)
    assert torch.equal(model.patch_embed.trunk.conv1.weight, network.conv1.weight)

    cached = torch_cache / published.name
    published.write_bytes(cached.read_bytes()[:-1] + b"x")
    cached.rename(published.with_name("aside"))
    with pytest.raises(ValueError, match="invalid hash value"):
        read_weights("torchvision:resnet18")
    cached.write_bytes(published.read_bytes())
    with pytest.raises(ValueError, match=f"{published.name} is damaged .* remove it"):
        read_weights("torchvision:resnet18")


def test_without_a_network_torchvisions_file_is_named_with_its_place(torch_cache, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setattr(urllib.request, "_opener", None)  # it would remember another proxy
    with pytest.raises(ValueError, match="download failed") as refusal:
        read_weights("torchvision:vit_b_16")
    assert f"put https://download.pytorch.org/models/vit_b_16-c867db91.pth into {torch_cache}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_local_files_need_no_other_library_and_a_name_says_what_to_install(pretrained_file):
    program = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from vitlab.weights.sources import read_weights\n"
        "import vitlab.weights.loading\n"
        f"print(len(read_weights('timm:{pretrained_file}').state))\n"
        "assert not {'timm', 'transformers', 'onnx'} & set(sys.modules)\n"
        "read_weights('timm:vit_tiny_patch16_224.augreg_in21k')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert int(ended.stdout) > 30
    assert "pip install 'vitlab[hub]', or give timm:FOLDER" in ended.stderr.splitlines()[-1]
