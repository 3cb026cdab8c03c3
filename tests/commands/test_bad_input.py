"""Bad input gets one line that names the key or file, the value and what would work; status 2; and no folder
that looks like a run."""

import json
from pathlib import Path

import pytest

BAD_VALUES = {
    "a typo in a key": ("model.dpth=3", "unknown key model.dpth"),
    "a typo behind a plus": ("+model.dpth=3", "unknown key model.dpth=3; did you mean depth?"),
    "a typo in a section behind a plus": (
        "+modell.depth=3",
        "unknown key modell={'depth': 3}; did you mean model?",
    ),
    "a typo in plain facts behind a plus": (
        "+data.batch_sise=3",
        "unknown key data.batch_sise=3; did you mean batch_size?",
    ),
    "a typo in an option": ("model=vitt", "model=vitt: there is no such option; did you mean vit?"),
    "a word for a number": (
        "model.depth=four",
        "model.depth=four is of the wrong kind; a whole number would work",
    ),
    "a word behind a reference": (
        "data.batch_size=many",
        "data.batch_size=many is of the wrong kind; a whole number would work",
    ),
    "a number for a switch": (
        "model.qk_norm=3",
        "model.qk_norm=3 is of the wrong kind; true or false would work",
    ),
    "an unknown word": (
        "model.pos_embed=learned",
        "model.pos_embed=learned is of the wrong kind; learn or sincos_2d or sinusoidal_1d or none",
    ),
    "an interpolation to nothing": (
        "optimizer.lr=${nope.nope}",
        "optimizer.lr cannot be resolved: Interpolation key 'nope.nope' not found",
    ),
    "broken syntax": ("optimizer.betas=[0.9", "[0.9"),
    "a missing folder": ("data=folder data.root=no/where", "no/where"),
    "no folder at all": ("data=folder", "data.root has no value; give one: data.root=..."),
    "weights for a loss that has none": (
        "data=table data.root=. data.file=a.csv data.num_classes=2 data.weight_column=sure"
        " objective.criterion={_target_:torch.nn.CrossEntropyLoss} objective.label_smoothing=0",
        "data.weight_column=sure: the loss of Classification weighs no samples",
    ),
    "CIFAR that is not there": ("data=cifar10 data.root=no/where", "no/where"),
    "heads that do not divide the width": (
        "model.num_heads=5",
        "model.num_heads=5 does not divide model.embed_dim=64",
    ),
    "a patch that does not divide the image": (
        "patch_size=3",
        "patch_size=3 does not divide the image of 8 x 8 px; what does: [1, 2, 4, 8]",
    ),
    "a patch that does not divide the images of evaluation": (
        "data.eval_size=9",
        "data.eval_size=9: patch_size=2 does not divide 9 px; 8 or 10 would work",
    ),
    "a size of evaluation with one side": (
        "data.eval_size=[8]",
        "data.eval_size=[8]: give a side in pixels, or [height, width]",
    ),
    "a size with one side": (
        "data.image_size=[8]",
        "data.image_size=[8]: give a side in pixels, or [height, width]",
    ),
    "no size": (
        "data=folder data.root=. data.num_classes=2 data.image_size=0",
        "data.image_size=0: give a side in pixels, or [height, width]",
    ),
    "images of evaluation smaller than those of training": (
        "data.eval_size=4",
        "data.eval_size=4 is below data.image_size=8",
    ),
    "fewer classes than the data has": (
        "data.num_classes=9",
        "data.num_classes=9, but the data has 10 classes",
    ),
    "more classes than the data has": (
        "data.num_classes=11",
        "data.num_classes=11, but the data has 10 classes",
    ),
    "batch size 0": ("data.batch_size=0", "data.batch_size=0 must be at least 1"),
    "a negative learning rate": ("optimizer.lr=-0.1", "optimizer.lr=-0.1 must be above 0"),
    "nothing of that name to freeze": (
        "optimizer.frozen=[trunk] schedule.frozen_epochs=1",
        "the model has nothing called trunk",
    ),
    "names to freeze without a time": (
        "optimizer.frozen=[blocks]",
        "optimizer.frozen has no effect with schedule.frozen_epochs=0",
    ),
    "a time to freeze without names": (
        "schedule.frozen_epochs=3",
        "frozen_epochs=3 and unfrozen_lr_ratio=1.0 need optimizer.frozen",
    ),
    "a layer decay that is no share": (
        "optimizer.layer_decay=2",
        "optimizer.layer_decay=2 must be above 0 and at most 1",
    ),
    "a warm-up longer than the run": (
        "schedule.warmup_epochs=100",
        "schedule.warmup_epochs=100 does not fit in trainer.max_epochs=100",
    ),
    "no batches": ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0 trains nothing"),
    "an order of Lightning's own": ("+trainer.overfit_batches=2", "trainer.limit_train_batches=N would work"),
    "no epochs": ("trainer.max_epochs=0", "trainer.max_epochs=0 must be at least 1"),
    "a rate that is none": ("model.drop_path_rate=1.5", "model.drop_path_rate=1.5 is not a probability"),
    "smoothing out of range": (
        "objective.label_smoothing=2.0",
        "objective.label_smoothing=2.0 must lie from 0 to below 1",
    ),
    "an augmentation out of range": ("augment.flip=2", "augment.flip=2 must be a number from 0 to 1"),
    "hardware that is not there": (
        "hardware=mps",
        "this machine has no Apple GPU; hardware=cpu or hardware=auto would work",
    ),
    "one value too few": (
        "data=flowers data.mean=[0.5] data.root=.",
        "data.mean=[0.5] has 1 value(s) for data.in_channels=3",
    ),
    "a key given twice": ("seed=1 seed=2", "seed is given twice: seed=1 seed=2; give it once"),
    "values for a callback that is not chosen": (
        "experiment=digits_vit callbacks=[default]",
        (
            "callbacks.ema has values, but callbacks=[...] does not choose it; add ema there, or leave the"
            " values out with ~callbacks.ema"
        ),
    ),
    "no picture to show": (
        "experiment=digits_vit callbacks.attention.num_shown=0",
        "callbacks.attention.num_shown=0 must lie from 1 to callbacks.attention.num_scored=64",
    ),
    "a target that could do anything": (
        "+callbacks.evil._target_=os.system",
        "callbacks.evil._target_=os.system is not allowed",
    ),
    "a target reached through a module of ours": (
        "model._target_=vitlab.models.vit.torch.load",
        "does not exist",
    ),
    "a number to watch that no validation logs": (
        "callbacks.best.monitor=val/f1",
        (
            "callbacks.best.monitor=val/f1: no validation logs that; known: val/loss, val/accuracy,"
            " val/accuracy_top5"
        ),
    ),
    "a target that ours only imports": (
        "optimizer._target_=vitlab.optim.AdamW",
        "is not allowed: vitlab.optim only imports it",
    ),
    "a word for a switch": ("compile=maybe", "compile=maybe is of the wrong kind; true or false would work"),
    "more padding than picture": (
        "augment.crop_padding=8",
        "augment.crop_padding=8 must be below the 8 px of the stored images' side; 0 to 7 would work",
    ),
    "more of an area than all": (
        "augment.crop_padding=0 augment.resized_crop=[0.5,1.5]",
        "must be two shares of the area in order",
    ),
    "too strong": (
        "augment=strong augment.magnitude=31",
        "augment.magnitude=31 must be a whole number from 0 to 30",
    ),
    "more erased than all": (
        "augment=strong augment.erasing=1.5",
        "augment.erasing=1.5 must be a number from 0 to 1",
    ),
    "a number for an option": ("model=5", "model=5: model takes the name of an option: conv_vit_base, "),
    "nothing for an option": ("data=null", "data=null: data takes the name of an option: cifar10, "),
    "a number among options": (
        "callbacks=[default,5]",
        "callbacks takes the name of an option: attention, default, early_stopping, ema; or",
    ),
    "a misspelt one among options": (
        "callbacks=[default,emma]",
        "callbacks=emma: there is no such option; did you mean ema?",
    ),
    "a part taken out": (
        "~optimizer",
        "optimizer is missing; without ~optimizer or optimizer=[] it would be there",
    ),
    "one beta": ("optimizer.betas=[0.9]", "optimizer.betas=[0.9] must be two numbers"),
    "a negative decay": ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1 must be 0 or more"),
    "a momentum of no mean": (
        "optimizer=sgd optimizer.momentum=2",
        "optimizer.momentum=2 must lie from 0 to below 1",
    ),
    "a rate that grows": ("schedule.final_lr_ratio=5", "schedule.final_lr_ratio=5 must lie from 0 to 1"),
    "no end": ("trainer.max_epochs=null", "trainer.max_epochs=null never ends"),
    "a number of steps that is none": (
        "trainer.max_steps=-5",
        "trainer.max_steps=-5 must be at least 1, or -1",
    ),
    "more than all batches": (
        "trainer.limit_train_batches=2.5",
        "trainer.limit_train_batches=2.5: a share from 0.0 to 1.0 or a whole number",
    ),
    "another number type": ("trainer.precision=64-true", "trainer.precision=64-true: images come in float32"),
    "no device": ("hardware=cpu trainer.devices=0", "trainer.devices=0: a whole number from 1 up would work"),
    "callbacks past the group": ("+trainer.callbacks=[]", "trainer.callbacks is vitlab's to give"),
    "a number that nobody logs": (
        "callbacks.best.monitor=val/acuracy",
        "no validation logs that; did you mean val/accuracy?",
    ),
    "a patch of no size": ("patch_size=-2", "patch_size=-2 and embed_dim=64 must each be at least 1"),
    "registers below none": ("model.reg_tokens=-1", "model.reg_tokens=-1 must be 0 or more"),
    "an MLP without channels": ("model.mlp_ratio=0", "model.mlp_ratio=0 leaves the MLP no channel"),
    "a mean that is no number": ("data.mean=[nan]", "data.mean=[nan] must be finite"),
    "fewer mistakes than none": (
        "callbacks.evaluation.num_mistakes=-3",
        "callbacks.evaluation.num_mistakes=-3 must be 0 or more",
    ),
    "no patience": (
        "callbacks=[default,early_stopping] callbacks.early_stopping.patience=-1",
        "callbacks.early_stopping.patience=-1 must be 0 or more",
    ),
    "a stop by what is never validated": (
        "callbacks=[default,early_stopping] trainer.limit_val_batches=0",
        (
            "callbacks.early_stopping stops by what is validated, and trainer.limit_val_batches=0 validates"
            " nothing"
        ),
    ),
    "validations by the clock": (
        "+trainer.val_check_interval=00:00:10:00",
        "a share of an epoch or batches would work",
    ),
    "a profiler that is none": (
        "trainer.profiler=5",
        "trainer.profiler=5: simple, advanced or pytorch would work, or null",
    ),
    "no deviation": ("data.std=[0]", "data.std=[0] must be above 0 in each channel"),
    "a word for a callback": (
        "callbacks.best=abc",
        "callbacks.best=abc is no node; keys below it can be given: callbacks.best.KEY=VALUE",
    ),
    "a list for a model": ("model=[1]", "model=[1]: model takes the name of an option: conv_vit_base, "),
    "a list for the trainer": (
        "trainer=[1]",
        "trainer=[1]: a plain value does not fit there; keys below it can be given: trainer.KEY=VALUE",
    ),
    "a number for a logger": (
        "logger=5",
        (
            "logger=5: logger takes the name of an option: csv, mlflow, tensorboard, wandb; or a list of"
            " them, logger=[] for none"
        ),
    ),
    "a number for the trainer": ("++trainer=3", "trainer=3 is no node"),
    "a word for a source": ("datamodule.source=abc", "datamodule.source=abc is no node"),
    "nothing for the trainer": ("trainer=null", "trainer=null is no node"),
    "no path": ("data=folder data.root=", "data.root has no value; give one: data.root=..."),
    "a place where nothing can be written": (
        "hydra.run.dir=/proc/here",
        "hydra.run.dir=DIR would put the run elsewhere",
    ),
}


def assert_refused_in_one_line(ended, says):
    assert ended.status == 2, ended
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("vitlab: ")
    assert says in lines[0]
    assert not list(Path().rglob("run.json"))
    assert not [path for path in Path().rglob(".hydra")]


@pytest.mark.parametrize(("arguments", "says"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_bad_value_is_refused_in_one_line(vitlab, arguments, says):
    assert_refused_in_one_line(vitlab("train", *arguments.split()), says)


def test_a_typo_in_a_users_experiment_file_is_refused(vitlab, tmp_path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "try.yaml").write_text("# @package _global_\ndata:\n  batchsize: 3\n")
    ended = vitlab("train", "--config-dir", str(tmp_path / "mine"), "experiment=try")
    assert_refused_in_one_line(ended, "unknown key data.batchsize=3; did you mean batch_size?")


TORCHS_OWN = "optimizer._target_=torch.optim.SGD"


def test_keys_of_an_option_whose_target_was_replaced_are_named_with_how_to_leave_them_out(vitlab):
    ended = vitlab("train", TORCHS_OWN)
    assert_refused_in_one_line(ended, f"{TORCHS_OWN} takes no optimizer.betas, as vitlab.optim.adamw does")
    without = ended.err.rpartition("; ")[2].removesuffix(" would leave them out\n").split()
    small = [
        "model.depth=1",
        "model.embed_dim=16",
        "model.num_heads=2",
        "trainer.max_steps=1",
        "callbacks=[default]",
        "schedule.warmup_epochs=0",
    ]
    ended = vitlab("train", TORCHS_OWN, "hardware=cpu", *without, *small, "trainer.limit_train_batches=1")
    assert ended.status == 0, ended.err


FOUND_BY_THE_LOOPS = {
    "a batch of one over one pixel": (
        "patch_embed=conv_stem patch_size=8 data.batch_size=1",
        (
            "data.batch_size=1: in a batch of one, batch normalisation over a single pixel has no spread to"
            " divide by; data.batch_size=2"
        ),
    ),
    "less than a batch to test": (
        "trainer.limit_test_batches=0.1",
        "trainer.limit_test_batches=0.1 is not one of the 6 batch(es) that there are; 1 would take one",
    ),
    "a number that is not logged in time to stop by": (
        "callbacks=[early_stopping] callbacks.early_stopping.monitor=train/loss",
        (
            "early stopping watches train/loss, which nothing has logged by the end of an epoch;"
            " monitor=val/accuracy would work"
        ),
    ),
    "a number that is not logged in time to choose by": (
        "callbacks.best.monitor=train/loss",
        "monitor=val/accuracy would work",
    ),
}


@pytest.mark.parametrize(("arguments", "says"), FOUND_BY_THE_LOOPS.values(), ids=FOUND_BY_THE_LOOPS.keys())
def test_what_only_the_running_loops_find_is_one_line_of_a_run_that_failed(vitlab, arguments, says):
    small = [
        "model.depth=1",
        "model.embed_dim=16",
        "model.num_heads=2",
        "trainer.limit_train_batches=2",
        "trainer.max_epochs=1",
    ]
    callbacks = [] if "callbacks=" in arguments else ["callbacks=[default]"]
    ended = vitlab(
        "train", "hardware=cpu", "schedule.warmup_epochs=0", *small, *callbacks, *arguments.split()
    )
    assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended.err
    assert says in ended.err
    (record,) = Path().rglob("run.json")
    assert json.loads(record.read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("+trainer.gradient_clip_algorithm=foo", "Trainer: `gradient_clip_algorithm` foo is invalid"),
        ("trainer.devices='x y'", "Trainer: `devices` selected with `CPUAccelerator` should be an int > 0"),
    ],
)
def test_what_lightning_refuses_is_one_line_before_a_run_begins(vitlab, argument, says):
    ended = vitlab("train", "hardware=cpu", argument)
    assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended.err
    assert says in ended.err
    assert not list(Path().rglob("run.json"))


def test_a_users_file_that_is_no_yaml_is_named(vitlab, tmp_path):
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text('depth: "4')
    assert_refused_in_one_line(
        vitlab("train", "--config-dir", str(tmp_path / "mine"), "model=mine"), "mine/model/mine.yaml"
    )


@pytest.mark.parametrize("data", ["folder", "mnist", "cifar10"])
def test_a_home_of_nobody_is_named(vitlab, data):
    ended = vitlab("train", f"data={data}", "data.root=~nobody_of_that_name/x")
    assert_refused_in_one_line(ended, "data.root=~nobody_of_that_name/x: there is no such home folder")


def test_classes_too_small_to_be_split_are_named(vitlab, photo_folder):
    ended = vitlab("train", "data=folder", f"data.root={photo_folder(count=2)}", "data.image_size=32")
    assert ended.status == 2 and "class ash has 1 image(s) left to split" in ended.err
    assert "more images would work, or folders train/, val/ and test/" in ended.err


def test_an_empty_class_and_a_single_class_are_refused(vitlab, photo_folder):
    root = photo_folder()
    (root / "empty").mkdir()
    assert_refused_in_one_line(vitlab("train", "data=folder", f"data.root={root}"), "empty")
    assert_refused_in_one_line(
        vitlab("train", "data=folder", f"data.root={photo_folder('one', classes=('ash',))}"), "one"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "train --config-dir",
        "train --nope",
        "train -m --config-dir",
        "train --cfg x",
        "list --nope",
        "report",
        "reproduce",
        "dashboard --port x",
    ],
)
def test_an_option_that_is_none_or_lacks_its_value_is_one_line(vitlab, arguments):
    assert_refused_in_one_line(vitlab(*arguments.split()), "--help` tells more")


def test_a_word_that_is_no_command_is_refused(vitlab):
    ended = vitlab("frobnicate")
    assert ended.status == 2
    assert (
        ended.err
        == "vitlab: unknown command frobnicate; known: train, check, test, predict, inspect, export,"
        " list, reproduce, report, completion, dashboard\n"
    )


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is no file"),
        (b"", "cannot be read"),
        (b"PK\x03\x04 half an archive", "cannot be read"),
        (b"<html>404</html>", "cannot be read"),
    ],
    ids=["missing", "empty", "cut short", "text"],
)
def test_a_checkpoint_that_is_none_is_refused(vitlab, tmp_path, command, content, says):
    file = tmp_path / "some.ckpt"
    if content is not None:
        file.write_bytes(content)
    images = [f"images={tmp_path}"] if command == "predict" else []
    assert_refused_in_one_line(vitlab(command, f"checkpoint={file}", *images), says)
