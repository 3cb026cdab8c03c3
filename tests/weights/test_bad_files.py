"""A source that cannot be had, is damaged, or could run code is refused in one line, and nothing in it is
executed."""

import json
import pickle
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vitlab.weights.sources import read_weights


class Touch:
    """Unpickled, it leaves a file behind."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.fixture
def marker(tmp_path):
    """A file that must never come to be."""
    file = tmp_path / "executed"
    yield file
    assert not file.exists()


def refusal(source):
    with pytest.raises(ValueError) as refused:  # each caller looks at the line
        read_weights(source)
    line = str(refused.value)
    assert "\n" not in line and "weights_only" not in line
    assert line.startswith("model.weights")
    return line


def hugging_face_folder(tmp_path, **config):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"} | config))
    save_file({"vit.embeddings.cls_token": torch.zeros(1, 1, 8)}, folder / "model.safetensors")
    return folder


def test_code_in_a_pickle_is_not_executed(tmp_path, marker):
    evil = {"conv1.weight": torch.zeros(1), "more": Touch(marker)}
    torch.save(evil, tmp_path / "evil.pth")
    assert "could run code" in refusal(f"torchvision:{tmp_path}/evil.pth")
    torch.save(evil, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    assert "could run code" in refusal(f"torchvision:{tmp_path}/legacy.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(evil))
    assert "could run code" in refusal(f"torchvision:{tmp_path}/bare.pth")
    torch.save({"state_dict": {}, "vitlab": Touch(marker)}, tmp_path / "evil.ckpt")
    assert "could run code" in refusal(f"{tmp_path}/evil.ckpt")
    folder = hugging_face_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save(evil, folder / "pytorch_model.bin")
    assert "could run code" in refusal(f"hf:{folder}")


def test_objects_among_arrays_are_not_unpickled(tmp_path, marker):
    array = np.empty(1, dtype=object)
    array[0] = Touch(marker)
    np.savez(tmp_path / "evil.npz", cls=array, **{"embedding/kernel": np.zeros(3)})
    assert "objects, which could run code" in refusal(f"{tmp_path}/evil.npz")
    with (tmp_path / "renamed.npz").open("wb") as file:
        pickle.dump(Touch(marker), file)
    assert "renamed.npz" in refusal(f"{tmp_path}/renamed.npz")


def whole_files(tmp_path):
    """One sound file of each kind, by source."""
    tensors = {name: torch.zeros(64) for name in ("conv1.weight", "layer1.0.conv1.weight")}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "a.pth")
    np.savez_compressed(
        tmp_path / "a.npz", **{name: np.arange(4096.0) for name in ("cls", "embedding/kernel")}
    )
    torch.save({"state_dict": {}, "vitlab": {}}, tmp_path / "a.ckpt")
    return {"a.safetensors": "timm:", "a.pth": "torchvision:", "a.npz": "", "a.ckpt": ""}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95], ids=["empty", "cut short", "almost whole"])
def test_a_file_cut_short_is_refused(tmp_path, share):
    for name, scheme in whole_files(tmp_path).items():
        content = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes(content[: int(len(content) * share)])
        assert cut.name in refusal(f"{scheme}{cut}")


def test_a_file_of_another_kind_is_called_by_its_name_and_not_cut_short(tmp_path):
    whole_files(tmp_path)
    (tmp_path / "a.safetensors").rename(tmp_path / "named.pth")
    (tmp_path / "a.pth").rename(tmp_path / "named.safetensors")
    (tmp_path / "pointer.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html></html>")
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for source, says in {
        "timm:named.safetensors": (
            "named.safetensors is a file of torch.save, and timm: reads a safetensors file; torchvision:"
        ),
        "timm:a.ckpt": "a.ckpt is a file of torch.save, and timm: reads a safetensors file; torchvision:",
        "timm:a.npz": "a.npz is an npz file, and timm: reads a safetensors file; model.weights=",
        "timm:old.bin": "old.bin is a bare pickle",
        "timm:pointer.safetensors": "is Git LFS's pointer to a file, not the file",
        "torchvision:named.pth": (
            "named.pth is a safetensors file, and torchvision: reads a file of torch.save;"
            " model.weights=timm:"
        ),
        "torchvision:page.pth": "page.pth is a web page",
    }.items():
        scheme, _, name = source.partition(":")
        line = refusal(f"{scheme}:{tmp_path}/{name}")
        assert says in line and "cut short" not in line, line


def test_an_array_that_says_that_it_is_larger_than_the_file_is_refused_before_there_is_room_for_it(tmp_path):
    np.savez(tmp_path / "a.npz", cls=np.zeros((1, 1, 8), np.float32))
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive, zipfile.ZipFile(tmp_path / "a.npz") as sound:
        array = sound.read("cls.npy")
        place = array.index(b"(1, 1, 8)")
        end = array.index(b"\n")
        archive.writestr("cls.npy", array[:place] + b"(999999999999,), }".ljust(end - place) + array[end:])
    assert "is said to be of shape [999999999999], and is shorter" in refusal(f"{tmp_path}/huge.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cls.npy", bytes(10**7))
    assert "far more than it is long" in refusal(f"{tmp_path}/bomb.npz")


def test_a_file_with_flipped_bits_is_refused(tmp_path):
    files = whole_files(tmp_path)
    for name in ("a.npz", "a.pth"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            first = archive.infolist()[0]
        content = bytearray((tmp_path / name).read_bytes())
        content[first.header_offset : first.header_offset + 120] = bytes(120)
        (tmp_path / name).write_bytes(content)
        assert name in refusal(f"{files[name]}{tmp_path / name}")


NOT_THERE = {
    "nowhere.ckpt": "is no file; give a vitlab checkpoint, timm:NAME",
    "nowhere.npz": "is no file",
    "timm:nowhere.safetensors": "nowhere.safetensors is no file",
    "timm:nowhere.pth": "nowhere.pth is no file",
    "torchvision:nowhere.pth": "nowhere.pth is no file",
    "torchvision:alexnet": "known here are vit_b_16",
    "torchvision:vit_b_16.V9": "vit_b_16 has the weights IMAGENET1K_V1, IMAGENET1K_SWAG_E2E_V1",
    "hf:./nowhere": "nowhere is no folder",
    "tim:vit_base_patch16_224": "did you mean timm:vit_base_patch16_224?",
    "": "is no file",
    "timm:": "give a vitlab checkpoint, timm:NAME",
    "~nobody99/best.ckpt": "cannot be read",
    "n" * 300: "cannot be read",
}


@pytest.mark.parametrize(("source", "says"), NOT_THERE.items(), ids=[source[:40] for source in NOT_THERE])
def test_a_source_that_is_none_is_refused_with_what_would_work(source, says):
    assert says in refusal(source)


def test_a_file_without_its_librarys_name_is_refused_with_the_name(tmp_path):
    save_file({"head.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert f"for example model.weights=timm:{tmp_path}/a.safetensors" in refusal(f"{tmp_path}/a.safetensors")


def test_tensors_of_another_kind_of_model_are_named(tmp_path):
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert "holds no ViT: its first tensors are features.0.weight" in refusal(
        f"timm:{tmp_path}/a.safetensors"
    )
    torch.save({"epoch": 3, "model": {"a": torch.zeros(1)}}, tmp_path / "a.pth")
    assert "is no state dict" in refusal(f"torchvision:{tmp_path}/a.pth")


UNKNOWN = {
    "another model": ({"model_type": "swin"}, "model_type=swin; known here: vit, deit, dinov2"),
    "another activation": ({"hidden_act": "quick_gelu"}, "hidden_act=quick_gelu, which vitlab lacks"),
    "a gated MLP": (
        {"model_type": "dinov2", "use_swiglu_ffn": True},
        "use_swiglu_ffn=true, which vitlab lacks",
    ),
    "no blocks": ({}, "holds no ViT"),
}


@pytest.mark.parametrize(("config", "says"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_vitlab_has_no_place_for_is_refused(config, says, tmp_path):
    assert says in refusal(f"hf:{hugging_face_folder(tmp_path, **config)}")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"model_type": "vit", "id2label": 3, "image_size": "large"}', '{"model_type": {}}'],
)
def test_a_strangers_description_may_be_anything(content, tmp_path):
    folder = hugging_face_folder(tmp_path)
    (folder / "config.json").write_text(content)
    refusal(f"hf:{folder}")


def timm_folder(tmp_path, pretrained_file, **config):
    shutil.copy(pretrained_file, tmp_path / "model.safetensors")
    facts = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3} | config.pop(
        "pretrained_cfg", {}
    )
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "vit", "pretrained_cfg": facts} | config)
    )
    return f"timm:{tmp_path}"


def test_a_folder_as_timm_describes_it_is_taken(tmp_path, pretrained_file):
    harmless = {
        "img_size": 32,
        "act_layer": "gelu",
        "final_norm": True,
        "norm_layer": None,
        "drop_path_rate": 0.1,
    }
    weights = read_weights(timm_folder(tmp_path, pretrained_file, global_pool="token", model_args=harmless))
    assert not weights.notes and weights.preprocessing is not None


OF_TIMM = {
    "quick GELU": (
        {"architecture": "vit_base_patch16_clip_quickgelu_224"},
        "vit_base_patch16_clip_quickgelu_224 does not have GELU",
    ),
    "late norms": (
        {"architecture": "vit_base_patch16_rpn_224"},
        "vit_base_patch16_rpn_224 has its norms behind attention and MLP",
    ),
    "ReLU": ({"model_args": {"act_layer": "relu"}}, "model_args say act_layer=relu, which vitlab lacks"),
    "no last norm": ({"model_args": {"final_norm": False}}, "final_norm=False, which vitlab lacks"),
    "what is not known": ({"model_args": {"rotary": [1]}}, "rotary=[1], which vitlab lacks or does not know"),
    "the maximum": ({"global_pool": "max"}, "it pools by max, which vitlab lacks"),
    "the maximum, told by an argument": (
        {"model_args": {"global_pool": "avgmax"}},
        "it pools by avgmax, which vitlab lacks",
    ),
}


@pytest.mark.parametrize(("config", "says"), OF_TIMM.values(), ids=OF_TIMM.keys())
def test_what_timm_tells_beside_the_tensors_is_not_overlooked(config, says, tmp_path, pretrained_file):
    assert says in refusal(timm_folder(tmp_path, pretrained_file, **config))


IMPOSSIBLE = {
    "crop_pct": (0, 1e-9, 1.5, -0.9, float("nan")),
    "mean": ([], [float("inf"), 0.5, 0.5]),
    "std": ([0, 0, 0], [0.5], [-1.0, 1.0, 1.0]),
}


@pytest.mark.parametrize("key", IMPOSSIBLE)
def test_numbers_by_which_no_image_can_have_been_prepared_are_refused(key, tmp_path, pretrained_file):
    for value in IMPOSSIBLE[key]:
        assert f"{key}={value}, by which no image" in refusal(
            timm_folder(tmp_path, pretrained_file, pretrained_cfg={key: value})
        )


def test_words_for_numbers_are_refused_also_where_no_types_are_checked(tmp_path, pretrained_file):
    sources = []
    for number, (key, value) in enumerate(
        {"crop_pct": None, "interpolation": 3, "mean": ["a", 0.5, 0.5], "std": 1}.items()
    ):
        (tmp_path / f"{number}").mkdir()
        sources.append(timm_folder(tmp_path / f"{number}", pretrained_file, pretrained_cfg={key: value}))
    program = (
        "from vitlab.weights.sources import read_weights\n"
        f"for source in {sources}:\n"
        "    try: print(read_weights(source).preprocessing)\n"
        "    except ValueError as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = [
        "says crop_pct=None",
        "interpolation='bicubic'",
        "says mean=['a', 0.5, 0.5]",
        "not what it should be (TypeError",
    ]
    for line, says in zip(ended.stdout.splitlines(), told, strict=True):
        assert says in line


@pytest.mark.parametrize("size", [["32", "32"], [32], [0, 32], [32.5, 32], [], [32, True]], ids=str)
def test_an_image_size_that_is_none_is_refused(size, tmp_path, pretrained_file):
    assert "says that images are" in refusal(
        timm_folder(tmp_path, pretrained_file, pretrained_cfg={"input_size": [3, *size]})
    )
    if len(size) == 2:
        assert "says that images are" in refusal(
            timm_folder(tmp_path, pretrained_file, model_args={"img_size": size})
        )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed", (17, 64)),
        ("blocks.0.norm1.weight", (0,)),
        ("blocks.0.norm1.weight", ()),
        ("blocks.0.mlp.fc1.weight", (256,)),
    ],
    ids=str,
)
def test_tensors_of_another_rank_than_a_vits_are_named(name, shape, tmp_path, pretrained_file):
    save_file(load_file(pretrained_file) | {name: torch.zeros(shape)}, tmp_path / "a.safetensors")
    assert f"its {name} is of shape {list(shape)}" in refusal(f"timm:{tmp_path}/a.safetensors")


def test_a_file_that_the_system_does_not_let_read_is_refused(tmp_path):
    torch.save({}, tmp_path / "a.pth")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # permissions would not stop root
    try:
        said = refusal(f"torchvision:{tmp_path}/a.pth")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "cannot be read" in said


def test_a_text_file_is_no_weights(tmp_path):
    for name in ("page.safetensors", "page.pth", "page.npz", "page.ckpt"):
        (tmp_path / name).write_text("<html>404</html>" + " " * 100)
    for source in ("timm:{}/page.safetensors", "torchvision:{}/page.pth", "{}/page.npz", "{}/page.ckpt"):
        assert "page." in refusal(source.format(tmp_path))
    np.save(tmp_path / "single.npz", np.zeros(3))
    (tmp_path / "single.npz.npy").rename(tmp_path / "single.npz")
    assert "a single array" in refusal(f"{tmp_path}/single.npz")
