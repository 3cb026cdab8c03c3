"""A command that is shown to others holds no path of this machine."""

import shlex

import pytest

from vitlab.command_line import own_configs, train_words, without_places, wrapped


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("data.root=/home/me/my photos", "data.root=PATH"),
        ("data.root='/home/me/my photos'", "data.root=PATH"),
        ("model.weights=timm:/home/me/x.safetensors", "model.weights=timm:PATH"),
        ("data.root=~/photos", "data.root=PATH"),
        (r"data.root=C:\photos", "data.root=PATH"),
        ("data.extra=[/a/b,/c]", "data.extra=[PATH,PATH]"),
        ("/home/me/best.ckpt", "PATH"),
        ("model.weights=timm:vit_small_patch16_224", None),
        ("data.root=photos/flowers", None),
        ("model.weights=https://example.org/x", None),
        ("~callbacks.ema", None),
        ("optimizer.betas=[0.9,0.99]", None),
    ],
)
def test_absolute_paths_are_left_out_and_nothing_else_is(word, shown):
    assert without_places(word) == (shown or word)


def test_a_command_that_trains_again_names_no_run():
    record = {"overrides": ["model.depth=2", "resume=auto", "name='a b'"]}
    record["command"] = "bin/vitlab train --config-dir own/conf model.depth=2 resume=auto"
    assert train_words(record) == [
        "vitlab",
        "train",
        "--config-dir",
        "own/conf",
        "model.depth=2",
        "name='a b'",
    ]


@pytest.mark.parametrize("command", ["vitlab train --config-dir", "vitlab train 'x --config-dir y", None])
def test_a_recorded_command_that_is_none_names_no_folder_of_configs(command):
    assert own_configs({"command": command}) == []


def test_a_long_command_is_broken_so_that_a_shell_takes_it_as_one():
    words = train_words({"overrides": [f"model.some_key_{number}='a b'" for number in range(12)]})
    lines = wrapped(words)
    assert len(lines) > 2 and max(map(len, lines)) <= 100
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == words  # as a shell joins lines
    assert len(wrapped(["vitlab", "train", "x" * 200])) == 2
