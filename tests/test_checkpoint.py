"""Checkpoints that are none: each is refused in one line with the path, and nothing in them runs."""

import pytest
import torch
from torch import nn

from vitlab.checkpoint import FORMAT, load_model_weights, read_checkpoint


@pytest.fixture
def sound(tmp_path):
    model = nn.Linear(3, 2)
    path = tmp_path / "sound.ckpt"
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": weights, "vitlab": {"format": FORMAT, "config": {}}}, path)
    return path, model


def test_a_sound_checkpoint_gives_back_its_weights(sound):
    path, model = sound
    other = nn.Linear(3, 2)
    load_model_weights(other, read_checkpoint(path), path)
    assert torch.equal(other.weight, model.weight)


DAMAGES = {
    "empty": lambda content: b"",
    "cut at 10 %": lambda content: content[: len(content) // 10],
    "cut at 50 %": lambda content: content[: len(content) // 2],
    "cut at 99 %": lambda content: content[: len(content) * 99 // 100],
    "text": lambda content: b"<html>404</html>",
    "zeros": lambda content: bytes(len(content)),
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


def test_another_programs_checkpoint_and_another_format_are_refused(tmp_path, sound):
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}}, foreign)
    with pytest.raises(ValueError, match="was not written by vitlab"):
        read_checkpoint(foreign)
    torch.save({"state_dict": {}, "vitlab": {"format": FORMAT + 1}}, foreign)
    with pytest.raises(ValueError, match=f"has format {FORMAT + 1}, this vitlab reads {FORMAT}"):
        read_checkpoint(foreign)


def test_weights_of_another_shape_are_refused(sound):
    path, _ = sound
    with pytest.raises(ValueError, match="its weights do not fit the model of its own config"):
        load_model_weights(nn.Linear(4, 2), read_checkpoint(path), path)
