"""Training end to end: the run folder, the dashboard's content, the same run twice, and how a run fails."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from vitlab.dashboard.tags import Tags

TAGS = Tags("accuracy", ("mistakes", "confusion", "per_class"))

FAST = [
    "trainer.max_epochs=2",
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
    "schedule.warmup_epochs=0",
    "hardware=cpu",
]
FAST += ["trainer.log_every_n_steps=5", "callbacks.attention.num_scored=8"]


def run_folder(experiment="train"):
    (folder,) = (path.parent for path in Path("outputs", experiment).rglob("run.json"))
    return folder


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory, trained_in):
    """One short training on the digits, for the tests that only look at it."""
    return trained_in(tmp_path_factory.mktemp("finished"), *FAST)


def test_a_run_folder_says_what_ran_and_how_it_ended(finished):
    facts = record(finished)
    assert facts["status"] == "completed"
    assert facts["reason"] is None
    assert facts["seed"] == 0
    assert facts["steps"] == 2 * (1295 // 64)
    assert facts["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert facts["hardware"]["cores"] >= 1
    assert {name: split["images"] for name, split in facts["data"]["splits"].items()} == {
        "train": 1295,
        "val": 143,
        "test": 359,
    }
    assert 0.0 <= facts["metrics"]["test/accuracy"] <= 1.0
    assert (finished / "config.yaml").is_file()
    assert {file.name for file in (finished / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    }
    with Image.open(finished / "figures" / "test_confusion.png") as picture:
        assert picture.convert("RGB").getcolors(maxcolors=100_000) is not None and min(picture.size) > 300


def test_the_last_checkpoint_is_the_last_and_the_best_is_the_best(vitlab, tmp_path):
    # nothing is learned: the first of equals stays the best
    steady = ["trainer.max_epochs=3", "trainer.limit_train_batches=2", "optimizer.lr=1e-6"]
    assert vitlab("train", *FAST[1:], *steady, f"hydra.run.dir={tmp_path}/run").status == 0
    steps = {
        name: torch.load(tmp_path / f"run/checkpoints/{name}.ckpt", weights_only=True)["global_step"]
        for name in ("best", "last")
    }
    assert steps["last"] == 3 * 2
    assert steps["best"] < steps["last"]


def test_a_run_that_validates_nothing_says_so_first_and_last_and_a_profile_that_was_asked_for_is_shown(
    vitlab, tmp_path
):
    rare = [
        "trainer.max_epochs=1",
        "trainer.limit_val_batches=0",
        "trainer.limit_train_batches=1",
        "callbacks=[default]",
    ]
    ended = vitlab("train", *FAST[1:-1], *rare, "trainer.profiler=simple", f"hydra.run.dir={tmp_path}/run")
    assert ended.status == 0, ended.err
    assert "trainer.limit_val_batches=0 validates nothing: there will be no best checkpoint" in ended.out
    assert "nothing was validated in this run: there is no best checkpoint" in ended.out
    assert (
        "FIT Profiler Report" in ended.out
        and "FIT Profiler Report" in next((tmp_path / "run").glob("*.log")).read_text()
    )
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


def test_a_run_without_any_callback_or_logger_of_choice_trains_and_tests(vitlab, tmp_path):
    shown = ["trainer.limit_train_batches=2", "callbacks=[]", "logger=[]", f"hydra.run.dir={tmp_path}/run"]
    ended = vitlab("train", *FAST[:-1], *shown)
    assert ended.status == 0, ended.err
    assert record(tmp_path / "run")["metrics"]["test/loss"] > 0
    assert not [*(tmp_path / "run").rglob("*.ckpt"), *(tmp_path / "run").rglob("events.*")]


def test_a_checkpoint_is_plain_data_with_all_that_prediction_needs(finished):
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["vitlab"]["class_names"] == [str(digit) for digit in range(10)]
    assert checkpoint["vitlab"]["preprocessing"]["image_size"] == [8, 8]
    assert checkpoint["vitlab"]["config"]["model"]["embed_dim"] == 16


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return accumulator.Reload()


def test_the_dashboard_shows_curves_pictures_and_the_config(finished):
    dashboard = events(finished)
    tags = dashboard.Tags()
    expected = {"train/loss", "train/accuracy", "train/lr", "train/gradient_norm", "train/images_per_second"}
    expected |= {"val/loss", "val/accuracy", "val/accuracy_top5", "test/accuracy"}
    assert {TAGS.of_number(name) for name in expected} <= set(tags["scalars"])
    assert {TAGS.of_picture(name) for name in ("test/confusion", "test/per_class", "test/mistakes")} <= set(
        tags["images"]
    )
    assert min(tags["images"]) == "4_pictures/1_mistakes"
    for name in tags["scalars"]:
        points = dashboard.Scalars(name)
        assert all(math.isfinite(point.value) for point in points), name
        steps = [point.step for point in points]
        assert steps == sorted(set(steps)), name
    rates = dashboard.Scalars(TAGS.of_number("train/lr"))
    assert rates[0].value > rates[-1].value


def test_a_chart_has_more_than_a_dot_and_what_is_measured_once_is_told_in_words(finished):
    dashboard = events(finished)
    alone = {
        tag
        for tag in dashboard.Tags()["scalars"]
        if len(dashboard.Scalars(tag)) == 1 and not tag.startswith("6_attention/")
    }
    assert alone == {
        f"10_result/{name}"
        for name in ("best_val_accuracy", "test_accuracy", "test_accuracy_top5", "test_loss")
    }
    (said,) = dashboard.Tensors("2_result/text_summary")
    text = said.tensor_proto.string_val[0].decode()
    metrics = json.loads((finished / "run.json").read_text())["metrics"]
    assert f"{metrics['test/accuracy']:.2%} (95 %: " in text and "from 359 images" in text
    assert f"| 7 | {metrics['test/accuracy_of/7']:.1%} |" in text
    assert "| blocks.0 | " in text
    (run,) = dashboard.Tensors("1_run/text_summary")
    assert "    vitlab train " in run.tensor_proto.string_val[0].decode()


def test_training_and_validation_share_the_first_charts_of_the_layout(finished):
    dashboard = events(finished)
    content = dashboard.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    first, *_, last = layout_pb2.Layout.FromString(content).category
    tags = dashboard.Tags()["scalars"]
    shown = [
        sorted(tag for tag in tags if any(re.match(pattern, tag) for pattern in chart.multiline.tag))
        for chart in first.chart
    ]
    assert shown == [["2_loss/train", "2_loss/val"], ["1_accuracy/train", "1_accuracy/val"]]
    assert last.title.startswith("Attention")


def test_the_hparams_tab_gets_values_a_true_status_and_no_false_metric(finished):
    dashboard = events(finished)
    content = dashboard.summary_metadata
    start = metadata.parse_session_start_info_plugin_data(
        content[metadata.SESSION_START_INFO_TAG].plugin_data.content
    )
    told = {
        override.partition("=")[0]
        for override in json.loads((finished / "run.json").read_text())["overrides"]
    }
    assert set(start.hparams) == {"seed"} | told - {"hardware"}
    assert start.hparams["model.embed_dim"].number_value == 16
    assert start.group_name == ""  # the trial has the run's own name
    end = metadata.parse_session_end_info_plugin_data(
        content[metadata.SESSION_END_INFO_TAG].plugin_data.content
    )
    assert end.status == 1  # STATUS_SUCCESS
    assert metadata.EXPERIMENT_TAG not in content
    assert "hp_metric" not in dashboard.Tags()["scalars"]


def test_two_runs_with_one_seed_have_the_same_weights_and_another_seed_has_not(vitlab, tmp_path):
    augment = [
        "augment=strong",
        "model.drop_path_rate=0.2",
        "model.proj_drop_rate=0.1",
        "augment.crop_padding=1",
    ]
    augment += ["trainer.limit_train_batches=6"]

    pictures = ["callbacks.attention.num_scored=8"]
    none = ["callbacks=[default]", "callbacks.evaluation=null"]

    def weights(name, *more):
        asked = [*FAST[:-1], *augment, *more, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/{name}"]
        assert vitlab("train", *asked[1:]).status == 0
        return torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    first, second = weights("first", *pictures), weights("second", *pictures)
    workers, other = weights("workers", *none, "data.num_workers=1"), weights("other", *none, "seed=1")
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        assert torch.equal(value, workers[name]), name
    assert not torch.equal(first["model.head.weight"], other["model.head.weight"])


def test_a_training_that_diverges_fails_with_the_step_and_keeps_a_sound_checkpoint(vitlab):
    ended = vitlab("train", *FAST, "optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null")
    assert ended.status == 3
    assert len(ended.err.strip().splitlines()) == 1
    assert "is nan at step 5 (learning rate 9.6" in ended.err or "is inf at step 5" in ended.err
    folder = run_folder()
    facts = record(folder)
    assert facts["status"] == "failed"
    assert facts["reason"].startswith("Diverged: train/loss is")
    for file in (folder / "checkpoints").glob("*.ckpt"):
        assert all(
            value.isfinite().all()
            for value in torch.load(file, weights_only=True)["state_dict"].values()
            if value.is_floating_point()
        )


def test_data_that_turns_out_bad_fails_the_run_in_one_line(vitlab, photo_folder):
    root = photo_folder()
    (root / "ash" / "0.png").write_bytes(b"no picture")
    ended = vitlab(
        "train", *FAST, "data=folder", f"data.root={root}", "data.image_size=32", "data.batch_size=4"
    )
    assert ended.status == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert "0.png" in ended.err
    assert record(run_folder())["status"] == "failed"


def test_a_value_from_the_environment_is_said_to_be_kept_and_not_shown(vitlab, photo_folder, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(photo_folder("hidden")))
    ended = vitlab(
        "train", "data=folder", "data.root=${oc.env:LAB_DATA}", "data.image_size=32", "trainer.max_epochs=0"
    )
    assert ended.status == 2 and "trainer.max_epochs=0" in ended.err
    (said,) = (line for line in ended.out.splitlines() if "environment" in line)
    assert "data.root" in said and "hidden" not in ended.out + ended.err


def test_a_run_says_its_folder_first_how_sure_its_result_is_and_what_comes_next(vitlab):
    small = [
        "data=digits",
        "hardware=cpu",
        "model.depth=1",
        "callbacks=[default]",
        "trainer.max_epochs=2",
        "trainer.check_val_every_n_epoch=2",
    ]
    ended = vitlab("train", *small, "hydra.run.dir=a run")
    assert ended.status == 0, ended.err
    folder = Path("a run").resolve()
    lines = (ended.out + ended.err).splitlines()
    assert lines[0] == f"run folder: {folder}"
    (result,) = [line for line in lines if line.startswith("test accuracy")]
    assert re.fullmatch(
        r"test accuracy \d+\.\d\d % \(95 %: \d+\.\d to \d+\.\d, from 359 images\), loss \d\.\d{4}", result
    )
    assert f"vitlab predict checkpoint='{folder}' images=FILE_OR_FOLDER" in lines[-1]
    assert not any("kernels:" in line for line in lines)
    (log,) = folder.glob("*.log")
    assert "kernels: attention" in log.read_text()
    last = [line for line in lines if line.startswith("epoch 2/2")]
    assert "val/accuracy" in last[0] and "(95 %: 0." in last[0]
