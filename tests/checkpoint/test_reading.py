"""Checkpoints that are none: each is refused in one line with the path, and nothing in them runs."""

import pytest
import torch
from torch import nn

from vitlab.checkpoint.card import FORMAT
from vitlab.checkpoint.reading import load_model_weights, read_checkpoint
from vitlab.files.sealed import write_sealed

PREPROCESSING = {
    "stored_size": [8, 8],
    "image_size": [8, 8],
    "in_channels": 3,
    "interpolation": "bilinear",
    "mean": [0.5, 0.4, 0.3],
    "std": [1, 1.0, 1.0],
}
CONFIG = {"model": {}, "objective": {}}
CARD = {
    "format": FORMAT,
    "config": CONFIG,
    "data": {},
    "learned": {},
    "class_names": ["cat", "dog"],
    "preprocessing": PREPROCESSING,
}


@pytest.fixture
def sound(tmp_path):
    model = nn.Linear(3, 2)
    path = tmp_path / "sound.ckpt"
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    write_sealed(path, lambda file: torch.save({"state_dict": weights, "vitlab": CARD}, file))
    return path, model


def test_a_sound_checkpoint_gives_back_its_weights(sound):
    path, model = sound
    other = nn.Linear(3, 2)
    load_model_weights(other, read_checkpoint(path), path)
    assert torch.equal(other.weight, model.weight)


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "cut at 10 %": lambda content: content[: len(content) // 10],
    "cut at 50 %": lambda content: content[: len(content) // 2],
    "cut at 99 %": lambda content: content[: len(content) * 99 // 100],
    "text": lambda content: b"<html>404</html>",
    "zeros": lambda content: bytes(len(content)),
    "a flipped bit in the pickle": lambda content: flip(content, content.index(b"class_names")),
    "a flipped bit in a tensor": lambda content: flip(content, content.index(b"data/0") + 64),
    "pickle of another kind": lambda content: b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_refused_in_one_line(sound, damage):
    path, _ = sound
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="cannot be read") as refusal:
        read_checkpoint(path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert "weights_only" not in str(refusal.value)  # torch's own message advises the unsafe way


def test_any_flipped_bit_of_the_tail_is_a_damaged_file(sound):
    path, _ = sound
    content = path.read_bytes()
    for place in range(len(content) - 250, len(content)):
        for bit in range(0, 8, 3):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            with pytest.raises(ValueError, match="cannot be read: it is damaged"):
                read_checkpoint(path)


def test_another_programs_checkpoint_and_another_format_are_refused(tmp_path, sound):
    foreign = tmp_path / "foreign.ckpt"
    for content in (
        {"state_dict": {}},
        {"state_dict": {}, "vitlab": []},
        {"state_dict": [], "vitlab": CARD},
        {"state_dict": {3: 1}, "vitlab": CARD},
    ):
        torch.save(content, foreign)
        with pytest.raises(ValueError, match="was not written by vitlab"):
            read_checkpoint(foreign)
    torch.save({"state_dict": {}, "vitlab": {"format": FORMAT + 1}}, foreign)
    with pytest.raises(
        ValueError, match=f"has format {FORMAT + 1}, and this vitlab reads {FORMAT}: another vitlab wrote it"
    ):
        read_checkpoint(foreign)


def test_weights_of_another_shape_are_refused(sound):
    path, _ = sound
    with pytest.raises(ValueError, match="its weights do not fit the model of its own config"):
        load_model_weights(nn.Linear(4, 2), read_checkpoint(path), path)


def test_a_checkpoint_of_before_the_first_release_is_refused_with_what_to_do(tmp_path):
    torch.save({"state_dict": {}, "vitlab": CARD | {"format": 1}}, tmp_path / "old.ckpt")
    with pytest.raises(
        ValueError,
        match=r"old.ckpt has format 1, .* an earlier vitlab wrote it, before 0.1.0; train it again",
    ):
        read_checkpoint(tmp_path / "old.ckpt")


CODE = "0) or print('executed'"

UNSOUND_CARDS = [
    ("config.model", {"config": {}}),
    ("config.model", {"config": []}),
    ("config.model", {"config": {"model": "anything"}}),
    ("config.objective", {"config": {"model": {}}}),
    ("data", {"data": None}),
    ("class_names", {"class_names": "cats"}),
    ("class_names", {"class_names": ["cat", 3]}),
    ("preprocessing.in_channels", {"preprocessing": None}),
]

UNSOUND_PREPROCESSING = [
    ("in_channels", [0, True, CODE]),
    ("mean", [None, [0.5, 0.5], [0.5, 0.5, CODE], CODE, [0.5, 0.5, float("nan")], torch.zeros(3)]),
    ("std", [[1.0, 1.0, 0.0], [1.0, 1.0, float("inf")], [1.0, 1.0, -1.0], [1.0]]),
    ("image_size", [8, [8], [8, 0], [8.0, 8.0], [CODE, 8]]),
    ("stored_size", [None, [8, True]]),
    ("interpolation", [CODE, "nearest", ["bicubic"], None]),
]

UNSOUND = UNSOUND_CARDS + [
    (f"preprocessing.{key}", {"preprocessing": PREPROCESSING | {key: value}})
    for key, values in UNSOUND_PREPROCESSING
    for value in values
]


@pytest.mark.parametrize(("key", "change"), UNSOUND, ids=str)
def test_what_a_checkpoint_tells_is_refused_where_vitlab_would_not_have_written_it(sound, key, change):
    path, _ = sound
    torch.save({"state_dict": {}, "vitlab": CARD | change}, path)
    with pytest.raises(ValueError, match=f"its {key} is not what `vitlab train` writes") as refusal:
        read_checkpoint(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (torch.zeros(2, 3, dtype=torch.int8), "weight is of torch.int8, which is no number of this model's"),
        (torch.full((2, 3), torch.nan), "weight holds numbers that are not finite"),
    ],
    ids=["whole numbers", "no numbers"],
)
def test_weights_that_a_model_could_not_have_learnt_are_refused_by_name(tmp_path, weight, says):
    path = tmp_path / "odd.ckpt"
    torch.save({"state_dict": {"model.weight": weight, "model.bias": torch.zeros(2)}, "vitlab": CARD}, path)
    with pytest.raises(ValueError, match=says):
        load_model_weights(nn.Linear(3, 2), read_checkpoint(path), path)


def test_a_checkpoint_says_which_part_it_lacks(tmp_path):
    for content, lacks in (({"vitlab": CARD}, "weights"), ({"state_dict": {}}, "config"), ([], "config")):
        torch.save(content, tmp_path / "part.ckpt")
        with pytest.raises(ValueError, match=f"it carries no {lacks}"):
            read_checkpoint(tmp_path / "part.ckpt")
