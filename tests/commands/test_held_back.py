"""Training on everything: no validation, no test, or neither, and what takes the place of a best
checkpoint."""

import json

import pytest
import torch

SHORT = ["hardware=cpu", "model.depth=1", "trainer.max_epochs=1"]
SHORT += ["trainer.limit_train_batches=2", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2"]


@pytest.mark.parametrize(
    ("fractions", "says", "kept", "measured"),
    [
        (
            ["data.val_fraction=0", "data.test_fraction=0"],
            "all 6 images are trained on; nothing is validated or tested, so no checkpoint is the best, and"
            " the last weights are kept",
            {"last.ckpt"},
            set(),
        ),
        (
            ["data.val_fraction=0"],
            "data.val_fraction=0: nothing is validated, so no checkpoint is the best; the last weights are"
            " kept and tested",
            {"last.ckpt"},
            {"test"},
        ),
        (
            ["data.test_fraction=0"],
            "data.test_fraction=0: nothing is tested; the best checkpoint is chosen by val/accuracy",
            {"best.ckpt", "last.ckpt"},
            {"val", "best"},
        ),
    ],
    ids=["neither", "no validation", "no test"],
)
def test_a_run_without_validation_or_test_says_what_is_kept(
    vitlab, photo_folder, tmp_path, fractions, says, kept, measured
):
    root = photo_folder(classes=("ash", "birch"), count=3)
    if len(fractions) == 2:  # then a class may have a single image
        (root / "cedar").mkdir()
        (root / "ash/0.png").rename(root / "cedar/0.png")
    data = ["data=folder", f"data.root={root}", "data.image_size=32", "data.batch_size=2", "patch_size=16"]
    data += ["augment.crop_padding=2", *fractions, *SHORT, "hydra.run.dir=run", "callbacks=default"]
    ended = vitlab("train", *data, "schedule.warmup_epochs=0")
    assert ended.status == 0, ended.err
    assert says in ended.out
    assert {file.name for file in (tmp_path / "run/checkpoints").glob("*t.ckpt")} == kept
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "completed"
    assert {name.partition("/")[0] for name in record["metrics"]} & {"val", "best", "test"} == measured
    if "test" not in measured:
        ended = vitlab("test", "checkpoint=run", "hardware=cpu", "hydra.run.dir=tested")
        assert ended.status == 2 and ended.err.count("\n") == 1
        assert "the run held back no test images (data.test_fraction=0)" in ended.err
    if not measured:
        last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
        assert last["vitlab"]["class_names"] == ["ash", "birch", "cedar"]
        ended = vitlab("predict", "checkpoint=run", f"images={root}", "device=cpu", "hydra.run.dir=predicted")
        assert ended.status == 0 and (tmp_path / "predicted/predictions.csv").is_file(), ended.err


def test_what_watches_a_validation_is_refused_before_any_picture_is_read(vitlab, photo_folder, tmp_path):
    root = photo_folder(count=2)
    (root / "ash/0.png").write_bytes(b"no picture")
    data = ["data=folder", f"data.root={root}", "data.val_fraction=0", *SHORT, "hydra.run.dir=run"]
    ended = vitlab("train", *data, "callbacks=[default,early_stopping]", "schedule.warmup_epochs=0")
    assert ended.status == 2 and ended.err == (
        "vitlab: callbacks.early_stopping watches val/accuracy, and data.val_fraction=0 leaves no image to"
        " validate on; without early_stopping, or with data.val_fraction=0.1, it would work\n"
    )
