"""`vitlab test` and `vitlab report` of runs that say several labels or numbers."""

import csv
import json

import numpy as np
import pytest

from vitlab.evaluation.kept import read_answers

SMALL = ["hardware=cpu", "data.image_size=16", "patch_size=8", "model.depth=1", "augment=none"]
SMALL += ["callbacks=[default]", "trainer.max_epochs=1", "schedule.warmup_epochs=0", "data.batch_size=16"]


@pytest.fixture(scope="module")
def labelled(trained_in, write_photos, tmp_path_factory):
    """Trains two models of labels and one of numbers on one table."""
    top = tmp_path_factory.mktemp("labelled")
    root = write_photos(top / "photos", side=16, count=20)
    files = sorted(root.rglob("*.png"))
    with (top / "table.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["path", "odd", "third", "place", "split", "rare", "both"])
        for place, file in enumerate(files):
            part = "train" if place % 3 else "val"
            rare = int(part == "train" and place % 2)
            labels = [place % 2, int(place % 3 == 1), place]
            table.writerow([file.relative_to(root), *labels, part, rare, ";".join(["odd"] * (place % 2))])
    given = ["data=table", f"data.root={root}", f"data.file={top / 'table.csv'}", *SMALL]
    several = [
        "objective=multilabel",
        "data.label_column=[odd,third]",
        "metrics=[average_precision,exact_match]",
    ]
    (top / "runs").mkdir()
    runs = {}
    for name, own in {
        "a": several,
        "b": [*several, "optimizer.lr=1e-5"],
        "n": ["objective=regression", "data.label_column=[place]"],
    }.items():
        (top / "runs" / name).mkdir()
        runs[name] = trained_in(top / "runs" / name, *given, "data.val_fraction=0.2", *own)
    return top, given, runs


def per_class(folder):
    return list(csv.DictReader((folder / "per_class.csv").read_text().splitlines()))


def test_labels_are_judged_by_their_own_score_wherever_classes_are(vitlab, labelled, tmp_path):
    top, _, runs = labelled
    ended = vitlab(
        "test", f"checkpoint={runs['a']}", f"against={runs['b']}", "corruptions=pixelate", "shifts=true",
        f"unlike={top / 'photos'}", "hardware=cpu", "hydra.run.dir=tested",
        "intervals=null",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    told = json.loads((tmp_path / "tested" / "run.json").read_text())
    values = told["corruptions"]["average_precision"]["pixelate"]
    assert told["corruptions"]["mean_corruption_error"] == pytest.approx(1 - np.mean(values))
    assert "error = 1 - average_precision" in ended.out and "By exact_match " in ended.out
    clean = told["shifts"]["clean_average_precision"]
    assert clean == pytest.approx(told["metrics"]["test/average_precision"], abs=1e-5)
    assert set(told["unlike"]) >= {"energy", "distance"}
    rows = per_class(tmp_path / "tested")
    assert [row["class"] for row in rows] == ["odd", "third"] and 0 < float(rows[0]["threshold"]) < 1


def test_all_of_another_table_is_tested_by_the_names_of_its_columns(vitlab, labelled, tmp_path):
    top, _, runs = labelled
    every = [
        "hardware=cpu",
        "data.split=all",
        f"data.root={top / 'photos'}",
        f"data.file={top / 'table.csv'}",
    ]
    mixed = "data.label_column=[third,rare,odd]"
    ended = vitlab(
        "test", f"checkpoint={runs['a']}", *every, mixed, "data.unknown_classes=skip", "hydra.run.dir=all"
    )
    assert ended.status == 0 and "rare, which the model does not know: left out" in ended.out, ended.err
    images = json.loads((tmp_path / "all" / "run.json").read_text())["data"]["splits"]["test"]["images"]
    assert images == 60 and "the run trained on" in ended.out
    rows = {row["class"]: row["images"] for row in per_class(tmp_path / "all")}
    assert rows == {"odd": "30", "third": "20"}
    numbers = vitlab("test", f"checkpoint={runs['n']}", *every, "tta=flip", "hydra.run.dir=numbers")
    assert numbers.status == 0 and "test mae" in numbers.out, numbers.err
    refused = vitlab("test", f"checkpoint={runs['a']}", *every, "data.label_column=odd")
    assert refused.status == 2 and "lacks third" in refused.err, refused.err


def test_a_report_says_which_run_is_better_on_the_same_images(vitlab, labelled):
    top, _, runs = labelled
    ended = vitlab("report", str(top / "runs" / "a"), str(top / "runs" / "b"), "--out", "told")
    assert ended.status == 0 and "on the same test images" in ended.out, ended.err
    assert "McNemar p" in ended.out or "exact_match nothing tells" in ended.out
    other = vitlab("report", str(runs["a"]), str(runs["n"]), "--metric", "val/loss", "--out", "other")
    assert "they learned other things" in other.out
    kept = read_answers(runs["a"])
    assert kept is not None and len(kept.answers.outputs) == len(kept.answers.labels)


def test_answers_that_were_damaged_are_no_answers(tmp_path):
    assert read_answers(tmp_path) is None
    (tmp_path / "test_answers.pt").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        read_answers(tmp_path)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["data.label_column=[rare,third]"], "none has rare, third; other images in val, or monitor=val"),
        (["data.label_column=[odd,third]", "monitor=train/loss"], "the best is chosen by what a validation"),
        (["data.label_column=[odd]"], "objective=multilabel takes two labels or more"),
    ],
    ids=["no positives", "never logged", "one label"],
)
def test_what_a_validation_cannot_tell_is_refused_before_the_first_step(
    vitlab, labelled, given, says, tmp_path
):
    ended = vitlab(
        "train", *labelled[1], "objective=multilabel", "data.split_column=split", *given, "hydra.run.dir=none"
    )
    last = ended.err.strip().splitlines()[-1]
    assert ended.status == 2 and says in last, ended.err
    assert not (tmp_path / "none" / "checkpoints").exists()
