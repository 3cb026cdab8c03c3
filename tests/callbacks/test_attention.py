"""The attention callback: what it leaves in the dashboard, and that training never notices it."""

import json
import logging
import os
import shutil
import subprocess
import sys
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from vitlab import optim
from vitlab.callbacks.attention import NUM_MIDDLE_FRAMES, AttentionPictures, epoch_of, is_due
from vitlab.callbacks.ema import EMA
from vitlab.dashboard.tags import Tags
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.probe_images import choose_probe_images
from vitlab.data.sources.digits import Digits
from vitlab.insight.attention.stats import attention_stats
from vitlab.insight.honesty.randomisation import randomisation_cascade
from vitlab.loggers.csv_table import Table
from vitlab.loggers.json_lines import MetricHistory
from vitlab.loggers.tensorboard import TensorBoard
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.objectives.classification import Classification
from vitlab.runs.history import read_history
from vitlab.training.module import TrainingModule

tag_of = Tags().of_picture

NAMED = {
    "attention/overview",
    "attention/heads",
    "attention/layers_x_heads",
    "weights/patch_filters",
    "weights/position_similarity",
}
NAMED |= {"features/pca", "tokens/norm", "attention/map_entropy", "attention/map_distance"}


def make_data(**options):
    fixed = {
        "val_fraction": 0.1,
        "test_fraction": 0.2,
        "split_seed": 0,
        "mean": [0.3],
        "std": [0.38],
        "batch_size": 64,
    }
    return ImageData(
        Digits(),
        Augment(),
        image_size=8,
        in_channels=1,
        num_classes=10,
        num_workers=0,
        seed=0,
        **(fixed | options),
    )


def make_model():
    torch.manual_seed(0)
    return VisionTransformer(
        LinearPatchEmbed(2, 1, 16), 8, 10, 16, 2, 2, drop_path_rate=0.2, proj_drop_rate=0.1
    )


def pictures(folder, **options):
    return AttentionPictures(
        str(folder / "figures"), **({"num_shown": 4, "num_scored": 16, "seed": 0} | options)
    )


def fit(folder, model=None, with_pictures=True, callbacks=(), logger=None, checkpoint=None, **options):
    """Trains on the digits for two short epochs."""
    classifier = TrainingModule(
        model or make_model(),
        Classification(10, 0.0, "val/accuracy", "max"),
        optimizer=partial(
            optim.sgd, lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=False, layer_decay=1.0, frozen=[]
        ),
        schedule=partial(
            optim.warmup_schedule,
            shape="constant",
            warmup_ratio=0.0,
            warmup_epochs=0.0,
            final_lr_ratio=1.0,
            frozen_epochs=0,
            unfrozen_lr_ratio=1.0,
        ),
        seed=0,
    )
    shown = [pictures(folder)] if with_pictures else []  # as in a config, before an EMA
    quiet = {
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    fixed = {
        "accelerator": "cpu",
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 1,
        "max_epochs": 2,
        "limit_train_batches": 5,
    }
    trainer = pl.Trainer(
        default_root_dir=folder,
        callbacks=[*shown, *callbacks],
        logger=logger if logger is not None else TensorBoard(folder),
        **(quiet | fixed | options),
    )
    trainer.fit(classifier, datamodule=make_data(), ckpt_path=checkpoint, weights_only=True)
    return trainer, classifier


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()


def hooks_on(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


# When


@pytest.mark.parametrize("num_validations", [1, 2, 5, 9, 24, 300])
@pytest.mark.parametrize("interval", [1, 20, 333])
def test_frames_are_at_most_eight_between_the_ends_and_thin_out(num_validations, interval):
    last = num_validations * interval
    steps = [interval * number for number in range(1, num_validations + 1)]
    frames = [step for step in steps if is_due(step, step - interval, interval, last)]
    assert len(frames) <= NUM_MIDDLE_FRAMES
    assert last not in frames
    if num_validations > 1:
        assert frames[0] == interval
    gaps = np.diff(frames)
    assert (np.diff(gaps) >= -interval).all()  # to the grid of validations
    if num_validations >= 24:
        assert len(frames) >= 6


# What it leaves


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A training of twelve validations with an EMA, for the tests that only look at it."""
    folder = tmp_path_factory.mktemp("finished")
    trainer, classifier = fit(folder, callbacks=[EMA(decay=0.9)], max_epochs=12)
    return folder, trainer, classifier


def test_every_tag_keeps_at_most_ten_frames_from_step_0_to_the_end_and_they_decode(finished):
    folder, trainer, _ = finished
    assert epoch_of(trainer) == 12  # as the last frame says
    dashboard = events(folder)
    tags = dashboard.Tags()["images"]
    assert {tag_of(name) for name in NAMED | {"attention/evolution"}} <= set(tags)
    for tag in NAMED:
        frames = dashboard.Images(tag_of(tag))
        steps = [frame.step for frame in frames]
        assert steps == sorted(set(steps)) and 3 < len(steps) <= 10
        assert steps[0] == 0 and steps[-1] == trainer.global_step == 60
        for frame in frames:
            with Image.open(BytesIO(frame.encoded_image_string)) as picture:
                assert picture.format == "PNG" and picture.size == (frame.width, frame.height)
                assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 5
    (moving,) = dashboard.Images(tag_of("attention/evolution"))
    with Image.open(BytesIO(moving.encoded_image_string)) as picture:
        assert picture.format == "GIF" and picture.n_frames == len(
            dashboard.Images(tag_of("attention/overview"))
        )


def test_the_figures_are_the_dashboards_last_frames(finished):
    folder, _, _ = finished
    dashboard = events(folder)
    for tag in NAMED:
        assert (folder / "figures" / f"{tag.replace('/', '_')}.png").read_bytes() == dashboard.Images(
            tag_of(tag)
        )[-1].encoded_image_string
    facts = json.loads((folder / "figures" / "probe_images.json").read_text())
    assert len(facts["indices"]) == len(facts["labels"]) == 16
    data = make_data()
    data.setup()
    assert data.splits["val"].samples.labels[torch.tensor(facts["indices"])].tolist() == facts["labels"]


def test_numbers_are_logged_at_every_validation_and_the_maps_move_away_from_the_untrained_ones(finished):
    dashboard = events(finished[0])
    for name in (
        "entropy_last_layer",
        "entropy_lowest_head",
        "distance_first_layer",
        "max_logit",
        "class_mass_last_layer",
    ):
        points = dashboard.Scalars(tag_of(f"attention/{name}"))
        assert [point.step for point in points] == [0, *range(5, 61, 5)]
        assert all(np.isfinite(point.value) for point in points)
    assert (
        0.9 < dashboard.Scalars(tag_of("attention/entropy_lowest_head"))[0].value <= 1.0
    )  # untrained attention is near uniform
    gains = dashboard.Scalars(tag_of("attention/rollout_deletion_gain"))
    assert [point.step for point in gains] == [
        frame.step for frame in dashboard.Images(tag_of("attention/overview"))
    ]  # none is left unjudged
    like = dashboard.Scalars(tag_of("attention/relevance_like_untrained"))
    assert like[0].step > 0 and like[-1].value < 0.9


def test_the_test_ends_with_what_destroyed_weights_leave_of_the_maps_and_leaves_the_model_alone(tmp_path):
    loggers = [TensorBoard(tmp_path), MetricHistory(tmp_path)]
    trainer, classifier = fit(tmp_path, logger=loggers, max_epochs=1)
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    trainer.test(classifier, datamodule=make_data(), verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in classifier.model.state_dict().items())
    dashboard = events(tmp_path)
    images = next(
        callback for callback in trainer.callbacks if isinstance(callback, AttentionPictures)
    ).chronicle.images
    expected = randomisation_cascade(classifier.model, images, "relevance")
    assert list(expected) == ["head", "blocks.1", "blocks.0", "embedding"]
    known = {name: value for (_, name), value in read_history(tmp_path).items()}
    for stage, value in expected.items():
        assert known[f"cascade/relevance_{stage}"] == pytest.approx(value, abs=1e-5)
    assert known["cascade/rollout_head"] == pytest.approx(1, abs=1e-5)  # rollout does not see the head
    assert not [tag for tag in dashboard.Tags()["scalars"] if "cascade" in tag]  # dots are no charts
    (picture,) = dashboard.Images(tag_of("attention/cascade"))
    assert picture.step == trainer.global_step
    assert (tmp_path / "figures" / "attention_cascade.png").read_bytes() == picture.encoded_image_string


class Seen(pl.Callback):
    """Computes one of the logged numbers of the weights as they are, and keeps it for those at the end of the
    training loop."""

    def __init__(self):
        data = make_data()
        data.setup()
        self.images = choose_probe_images(data, 16, 0).images

    def max_logit(self, pl_module):
        return float(attention_stats(pl_module.model, self.images).max_logit.max())

    def on_train_end(self, trainer, pl_module):
        self.of_trained = self.max_logit(pl_module)


@pytest.mark.parametrize("ends_with_validation", [True, False])
@pytest.mark.parametrize("pictures_first", [True, False])
def test_what_is_seen_are_the_averaged_weights_whichever_callback_comes_first(
    tmp_path, pictures_first, ends_with_validation
):
    both = [pictures(tmp_path), EMA(decay=0.95)] if pictures_first else [EMA(decay=0.95), pictures(tmp_path)]
    seen = Seen()
    every = 1 if ends_with_validation else 2
    _, classifier = fit(
        tmp_path,
        with_pictures=False,
        callbacks=[*both, seen],
        max_epochs=1,
        limit_train_batches=10,
        check_val_every_n_epoch=every,
    )
    logged = events(tmp_path).Scalars(tag_of("attention/max_logit"))[-1]
    assert logged.step == 10
    assert logged.value == pytest.approx(
        seen.max_logit(classifier), rel=1e-5
    )  # with which the EMA leaves the fit
    assert logged.value != pytest.approx(seen.of_trained, rel=1e-3)


def test_a_run_that_stops_early_still_ends_with_a_frame_and_its_scores(tmp_path):
    class Stop(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            trainer.should_stop = trainer.global_step >= 15

    trainer, _ = fit(tmp_path, callbacks=[Stop()], max_epochs=100)
    assert epoch_of(trainer) == 3  # as the last frame says
    assert trainer.global_step == 15
    dashboard = events(tmp_path)
    steps = [frame.step for frame in dashboard.Images(tag_of("attention/overview"))]
    assert steps[0] == 0 and steps[-1] == 15
    assert [point.step for point in dashboard.Scalars(tag_of("attention/rollout_deletion_gain"))] == steps


# What training notices


WAYS = ["plain", "wrapped", "by block", "inductor" if shutil.which("g++") else "in place"]


@pytest.fixture(scope="module")
def noticed(tmp_path_factory):
    """What tests/callbacks/compiled.py saw, in a process of its own: shape checks would break graphs."""
    folder = tmp_path_factory.mktemp("compiled")
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(Path(__file__).with_name("compiled.py")),
        str(folder),
        *WAYS,
    ]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=900
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder, json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("way", WAYS)
def test_losses_and_generator_are_the_same_bits_with_and_without_the_pictures(noticed, way):
    folder, results = noticed
    one, other = results[way]["with"], results[way]["without"]
    assert len(one["losses"]) == 10 and one["losses"] == other["losses"]
    assert one["generator"] == other["generator"]
    assert one["graphs"] == other["graphs"]  # nothing was compiled anew
    assert (way == "plain") == (not one["graphs"])
    assert one["hooks"] == other["hooks"]
    assert len(events(folder / way / "with").Images(tag_of("attention/heads"))) == 3
    assert not events(folder / way / "without").Tags()["images"]


def test_one_look_leaves_generator_modes_gradients_and_hooks_as_they_were(tmp_path):
    trainer, classifier = fit(tmp_path, max_epochs=1)
    callback = next(callback for callback in trainer.callbacks if isinstance(callback, AttentionPictures))
    classifier.train()
    classifier.model.blocks[0].eval()
    before = torch.get_rng_state(), [module.training for module in classifier.modules()], hooks_on(classifier)
    gradients = [
        None if parameter.grad is None else parameter.grad.clone() for parameter in classifier.parameters()
    ]
    callback._look(trainer, takes_frame=True)
    after = torch.get_rng_state(), [module.training for module in classifier.modules()], hooks_on(classifier)
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    for old, parameter in zip(gradients, classifier.parameters(), strict=True):
        assert (old is None and parameter.grad is None) or torch.equal(old, parameter.grad)


# Which models


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))

    def forward(self, images):
        return self.layers(images)


def test_a_model_that_cannot_be_looked_into_trains_without_pictures_and_one_line_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer, _ = fit(tmp_path, Convolution(), max_epochs=1)
    assert trainer.global_step == 5
    (line,) = [record.getMessage() for record in caplog.records if "attention" in record.getMessage()]
    assert "no attention pictures: a Convolution" in line and "callbacks=[default]" in line
    assert not events(tmp_path).Tags()["images"]


def test_collapse_is_announced_in_one_line(tmp_path, caplog):
    model = make_model()
    with torch.no_grad():
        model.blocks[1].attn.qkv.weight[:32] *= 1e3  # queries and keys: scores that leave one token
    with caplog.at_level(logging.WARNING):
        fit(tmp_path, model, max_epochs=1)
    (line,) = [
        record.getMessage() for record in caplog.records if "attention of layer" in record.getMessage()
    ]
    assert line.startswith("step 0: ")


# Where it goes


def test_a_table_keeps_every_frame_beside_it(tmp_path):
    fit(tmp_path, logger=Table(tmp_path), max_epochs=1)
    frames = sorted(file.name for file in (tmp_path / "pictures" / "attention_overview").iterdir())
    assert frames == ["00000000.png", "00000005.png"]
    assert "attention/max_logit" in (tmp_path / "metrics.csv").read_text().splitlines()[0]


def test_resuming_draws_no_untrained_frame_and_remembers_what_it_looked_like(tmp_path):
    kept = tmp_path / "half.ckpt"

    class Save(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            if trainer.global_step == 10:
                trainer.save_checkpoint(kept)

    fit(tmp_path / "whole", callbacks=[Save()], max_epochs=4)
    folder = tmp_path / "resumed"
    whole = events(tmp_path / "whole")
    fit(folder, max_epochs=4, checkpoint=kept)
    resumed = events(folder)
    later = [frame.step for frame in whole.Images(tag_of("attention/overview")) if frame.step > 10]
    assert [frame.step for frame in resumed.Images(tag_of("attention/overview"))] == later
    like = "attention/rollout_like_untrained"
    assert [p.value for p in resumed.Scalars(tag_of(like))] == [
        p.value for p in whole.Scalars(tag_of(like)) if p.step > 10
    ]
