"""Who types what is no key, no option or no KEY=VALUE is told in one line what was meant."""

import pytest

from vitlab.config.suggest import meant_by, plain_words, refuse_no_options


@pytest.mark.parametrize(
    "value", ["[]", "[default],[]", "[default,ema]", "default", "{best:{mode:min}}", "glob(e*)"]
)
def test_what_may_stand_for_options_is_not_refused(value):
    refuse_no_options([f"callbacks={value}"])


@pytest.mark.parametrize("value", ["", "5", "[5]", "[default],[default,5]", "null", "default,1e3"])
def test_what_is_called_like_no_option_is_refused(value):
    with pytest.raises(ValueError, match="callbacks takes the name of an option: attention, default"):
        refuse_no_options([f"callbacks={value}"])


TYPED = {
    "a key without its group": (["train", "lr=1e-3"], "unknown key lr; did you mean optimizer.lr?"),
    "a word for it": (["train", "epochs=3"], "unknown key epochs; did you mean trainer.max_epochs?"),
    "another": (["train", "batch_size=32"], "unknown key batch_size; did you mean data.batch_size?"),
    "a misspelt group": (
        ["train", "optimzer.lr=1e-3"],
        "unknown key optimzer.lr; did you mean optimizer.lr?",
    ),
    "a misspelt key of another command": (
        ["predict", "chekpoint=a", "images=b"],
        "unknown key chekpoint; did you mean checkpoint?",
    ),
    "in a sweep": (["train", "-m", "lr=1e-3,1e-2"], "unknown key lr; did you mean optimizer.lr?"),
    "nothing like a key": (
        ["train", "frobnicate=1"],
        "unknown key frobnicate; `vitlab train --help` lists the known ones",
    ),
    "a misspelt option": (
        ["train", "model=vit_tny"],
        "model=vit_tny: there is no such option; did you mean vit_tiny?",
    ),
    "a logger that is none": (
        ["train", "logger=comet"],
        "there are csv, mlflow, tensorboard, wandb; a file logger/comet.yaml of your own, with --config-dir",
    ),
    "words without keys": (
        ["predict", "a.ckpt", "photos"],
        "vitlab predict checkpoint=a.ckpt images=photos would work",
    ),
    "an experiment by its name": (["train", "digits_vit"], "vitlab train experiment=digits_vit would work"),
    "a word in a sweep": (["train", "-m", "digits_vit", "seed=0,1"], "digits_vit stands without a key"),
    "a word that says nothing": (
        ["train", "please"],
        "a command takes KEY=VALUE: vitlab train --help would work",
    ),
}


@pytest.mark.parametrize("typed", TYPED)
def test_what_was_meant_is_said_in_one_line(vitlab, typed):
    arguments, said = TYPED[typed]
    ended = vitlab(*arguments)
    assert ended.status == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_values_of_options_are_no_plain_words():
    assert list(
        plain_words(["--config-dir", "mine", "seed=1", "-cd", "x", "--cfg", "job", "~callbacks.ema", "stray"])
    ) == ["stray"]


def test_a_key_that_several_groups_have_is_not_guessed_at():
    assert set(meant_by("root", "train")) == {"data.root"}
    assert len(meant_by("seed_", "train")) == 1
    assert meant_by("zzz", "train") == []


def test_a_run_folder_is_as_good_as_its_best_checkpoint(vitlab, trained_in, tmp_path):
    run = trained_in(
        tmp_path,
        "data=digits",
        "model.depth=1",
        "trainer.max_epochs=1",
        "callbacks=[default]",
        "hardware=cpu",
    )
    ended = vitlab("test", f"checkpoint={run}", "hydra.run.dir=tested", "hardware=cpu")
    assert ended.status == 0, ended.err
    assert (tmp_path / "tested" / "run.json").exists()
    elsewhere = vitlab("test", f"checkpoint={tmp_path}", "hydra.run.dir=other")
    assert elsewhere.status == 2
