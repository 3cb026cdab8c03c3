"""`vitlab test` and `predict` beyond the plain number: intervals, two checkpoints, several, other images."""

import csv
import json

import numpy as np
import pytest
import torch

from vitlab.runs.several import load_several

FAST = ["hardware=cpu", "data=digits", "callbacks=default", "model.depth=1", "trainer.max_epochs=1"]
FAST += ["schedule.warmup_epochs=0", "callbacks.evaluation=null"]


@pytest.fixture(scope="module")
def two(trained_in, tmp_path_factory):
    """Trains two models of one split, and one of another split."""
    folders = []
    for seed, split in ((0, 0), (1, 0), (0, 1)):
        folder = tmp_path_factory.mktemp(f"seed{seed}split{split}")
        run = trained_in(folder, *FAST, f"seed={seed}", f"data.split_seed={split}")
        folders.append(run / "checkpoints" / "best.ckpt")
    return folders


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_test_says_how_sure_it_is_each_class_and_which_of_two_is_better(vitlab, two, tmp_path):
    ended = vitlab(
        "test", f"checkpoint={two[0]}", f"against={two[1]}", "metrics=f1_macro,auroc", "hardware=cpu",
        f"hydra.run.dir={tmp_path}/tested", "corruptions=fog,pixelate",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    tested = record(tmp_path / "tested")
    for name in ("test/accuracy", "test/f1_macro", "test/auroc", "test/loss"):
        interval = tested["intervals"]["of"][name]
        assert interval["low"] < tested["metrics"][name] < interval["high"]
    told = tested["against"]
    assert told["metrics"]["loss"]["first"] == pytest.approx(tested["metrics"]["test/loss"], abs=1e-5)
    assert told["conclusion"][0] in ended.out and "McNemar p" in told["conclusion"][0]
    mcnemar, count = told["mcnemar"]["accuracy"], tested["data"]["splits"]["test"]["images"]
    difference = told["metrics"]["accuracy"]["difference"]
    assert (mcnemar["only_first"] - mcnemar["only_second"]) / count == pytest.approx(difference, abs=1e-6)
    with (tmp_path / "tested" / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["images"]) for row in rows) == count and len(rows) == 10
    errors = [1 - np.mean(values) for values in tested["corruptions"]["accuracy"].values()]
    assert tested["corruptions"]["mean_corruption_error"] == pytest.approx(np.mean(errors))
    assert "AlexNet" in ended.out and (tmp_path / "tested" / "figures" / "test_corruptions.png").is_file()


def test_several_checkpoints_and_views_answer_with_the_mean_of_their_probabilities(two):
    images = torch.rand(4, 1, 8, 8)
    together = load_several([str(each) for each in two[:2]], "flip", False)
    views = [images, images.flip(3)]
    shares = [
        load_several(str(path), None, False).model(view).softmax(1) for path in two[:2] for view in views
    ]
    torch.testing.assert_close(together.model(images).softmax(1), torch.stack(shares).mean(0))
    assert together.facts()["averaged"]["tta"] == "flip" and together.objective.calibration is None


def test_the_mean_of_weights_lies_between_those_of_two_checkpoints(two):
    paths = [str(each) for each in two[:2]]
    soup, (first, second) = load_several(paths, None, True), [load_several(p, None, False) for p in paths]
    of_both = zip(first.model.parameters(), second.model.parameters(), strict=True)
    for mean, (one, other) in zip(soup.model.parameters(), of_both, strict=True):
        torch.testing.assert_close(mean, (one + other) / 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["against={2}"], "the two runs held back other images"),
        (["intervals=2"], "intervals=2 must lie above 0 and below 1"),
        (["metrics=f2"], "metrics: f2 is none of this objective's"),
        (["tta=spin"], "tta=spin is no set of views; known: flip, flips, turns"),
        (["weights_average=true"], "checkpoint=[A,B] would work"),
        (["corruptions=rain"], "corruptions=rain is none"),
        (["against={1}", "trainer.limit_test_batches=2"], "1.0 would work"),
        (["unlike=nowhere"], "nowhere"),
    ],
    ids=lambda value: value[0].partition("=")[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_judged_is_refused_in_a_line(vitlab, two, arguments, says):
    given = [argument.format(*two) for argument in arguments]
    ended = vitlab("test", f"checkpoint={two[0]}", "hardware=cpu", *given)
    assert ended.status == 2 and says in ended.err and len(ended.err.strip().splitlines()) == 1, ended.err


def test_checkpoints_that_may_have_seen_the_test_images_are_refused_together(vitlab, two):
    ended = vitlab("test", f"checkpoint=[{two[0]},{two[2]}]", "hardware=cpu")
    assert ended.status == 2 and "was trained on another split" in ended.err, ended.err


def test_predicting_says_how_unlike_a_picture_is_and_what_was_averaged(vitlab, two, photo_folder, tmp_path):
    root = photo_folder(count=1)
    ended = vitlab(
        "predict", f"checkpoint={two[0]}", f"images={root}", "unlike=energy", "device=cpu",
        f"hydra.run.dir={tmp_path}/energy",
    )  # fmt: skip
    assert ended.status == 0 and "more unlike than" in ended.out, ended.err
    with (tmp_path / "energy" / "predictions.csv").open() as file:
        assert all(0 <= float(row["unlike_than_share"]) <= 1 for row in csv.DictReader(file))
    both = f"checkpoint=[{two[0]},{two[1]}]"
    ended = vitlab("predict", both, f"images={root}", "device=cpu", f"hydra.run.dir={tmp_path}/both")
    assert ended.status == 0 and "the mean of what 2 checkpoints say" in ended.out, ended.err
    assert (
        json.loads((tmp_path / "both" / "predictions.json").read_text())["averaged"]["of"] == "probabilities"
    )
    ended = vitlab("predict", both, f"images={root}", "coverage=0.9")
    assert ended.status == 2 and "coverage is for one model" in ended.err


def test_distance_tells_other_pictures_from_the_test_images_with_a_number(
    vitlab, two, photo_folder, tmp_path
):
    ended = vitlab(
        "test", f"checkpoint={two[0]}", f"unlike={photo_folder(count=4)}", "hardware=cpu",
        f"hydra.run.dir={tmp_path}/tested",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    found = record(tmp_path / "tested")["unlike"]
    assert found["pictures"] == 12
    assert 0 <= found["distance"]["auroc"] <= 1 and f"{found['energy']['auroc']:.4f}" in ended.out
