"""Names on a hub: its cache is used, what lies there is checked, and without a network one line says what to
do."""

import dataclasses
import hashlib
import http.server
import json
import subprocess
import sys
import threading
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
    """Puts files of a repository into an otherwise empty cache of the hub, as a download would, without a
    network from then on."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(repo, absent=(), **files):
        folder, revision = tmp_path / "hub" / f"models--{repo.replace('/', '--')}", "0" * 40
        blobs, snapshot = folder / "blobs", folder / "snapshots" / revision
        for directory in (blobs, snapshot, folder / "refs"):
            directory.mkdir(parents=True)
        (folder / "refs" / "main").write_text(revision)
        for name, file in files.items():
            content = file.read_bytes()
            blob = blobs / hashlib.sha256(content).hexdigest()
            blob.write_bytes(content)
            (snapshot / name.replace("_json", ".json").replace("_safetensors", ".safetensors")).symlink_to(
                blob
            )
        for name in absent:  # as the hub remembers what a repository answered not to have
            marker = folder / ".no_exist" / revision / name
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
        return blobs

    return put


def test_a_cached_timm_repository_is_read_and_a_damaged_file_in_it_refused(
    hub_cache, tmp_path, pretrained_file
):
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

    peer = ViTForImageClassification(
        ViTConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8)
    )
    peer.save_pretrained(tmp_path)
    files = {"model_safetensors": tmp_path / "model.safetensors", "config_json": tmp_path / "config.json"}
    hub_cache("someone/vit", absent=["preprocessor_config.json"], **files)
    weights = read_weights("hf:someone/vit")
    assert weights.preprocessing is None and weights.architecture["image_size"] == 32
    assert torch.equal(weights.state["head.weight"], peer.classifier.weight)

    hub_cache("someone/half", **files)  # the connection broke before the processor's file
    with pytest.raises(ValueError, match=r"model.weights=hf:someone/half: download failed .* give hf:FOLDER"):
        read_weights("hf:someone/half")


def test_what_the_hub_says_a_repository_lacks_is_done_without(tmp_path, monkeypatch):
    from transformers import ViTConfig, ViTForImageClassification

    ViTForImageClassification(
        ViTConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8)
    ).save_pretrained(tmp_path / "served")

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            file = tmp_path / "served" / self.path.rpartition("/")[2]
            self.send_response(200 if file.is_file() else 404)
            self.send_header("X-Repo-Commit", "0" * 40)
            if file.is_file():
                self.send_header("ETag", hashlib.sha256(file.read_bytes()).hexdigest())
                self.send_header("Content-Length", str(file.stat().st_size))
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
            self.end_headers()
            return file

        def do_GET(self):
            self.wfile.write(self.do_HEAD().read_bytes())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        weights = read_weights("hf:someone/vit")
        server.shutdown()
    assert weights.preprocessing is None and weights.architecture["image_size"] == 32


@pytest.mark.parametrize(("source", "says"), [
    ("timm:vit_none.x", "of https://huggingface.co/timm/vit_none.x into a folder and give timm:FOLDER"),
    ("hf:someone/none", "of https://huggingface.co/someone/none into a folder and give hf:FOLDER"),
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


def test_torchvisions_weights_are_fetched_checked_and_come_with_their_preprocessing(
    torch_cache, tmp_path, monkeypatch
):
    network = resnet18()
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    published = (
        tmp_path / f"resnet18-{hashlib.sha256((tmp_path / 'resnet18.pth').read_bytes()).hexdigest()[:8]}.pth"
    )
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
    assert f"put https://download.pytorch.org/models/vit_b_16-c867db91.pth into {torch_cache}" in str(
        refusal.value
    )
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
