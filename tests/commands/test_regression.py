"""Numbers an image as an objective of the house: learned from columns of a table, kept and said in their own
units."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from vitlab.data.source import Batch
from vitlab.objectives.regression import OF_NUMBERS, Regression


def objective(**given):
    return Regression(2, **{"monitor": "val/mae", "mode": "min"} | given)


@pytest.mark.parametrize(("loss", "expected"), [("mse", 2.5), ("l1", 1.5), ("huber", 1.0)])
def test_losses_are_of_standardised_numbers(loss, expected):
    told = objective(loss=loss)
    told.see_training_labels(torch.tensor([[0.0, 100.0], [4.0, 300.0]]))  # mean 2, 200; deviation 2, 100
    said = torch.zeros(1, 2)  # is 2, 200
    outcome = told.loss(nn.Identity(), Batch(said, torch.tensor([[4.0, 400.0]]), 0))  # off by 1, 2 deviations
    assert float(outcome.loss) == pytest.approx(expected)  # huber: (0.5 + 1.5) / 2
    assert told.numbers(torch.tensor([[1.0, -1.0]])).tolist() == [[4.0, 100.0]]
    assert told.answers(said, ["age", "size"], 1) == [[("age", 2.0), ("size", 200.0)]]
    other = objective()
    other.take_up(told.learned())
    assert torch.equal(other.numbers(said), told.numbers(said))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_metrics_are_scikit_learns(name):
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(100, 2, generator=generator)
    said = true + 0.3 * torch.randn(100, 2, generator=generator)
    metric = OF_NUMBERS[name].make(2)
    for some, their in zip(said.split(30), true.split(30), strict=True):
        metric.update(some, their)
    expected = {
        "mae": lambda: sk.mean_absolute_error(true, said),
        "mse": lambda: sk.mean_squared_error(true, said),
        "rmse": lambda: sk.mean_squared_error(true, said) ** 0.5,
        "r2": lambda: sk.r2_score(true, said),
    }[name]()
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "plain", [None, {"mean": torch.zeros(2)}, {"mean": torch.zeros(2), "deviation": torch.zeros(2)}]
)
def test_a_strangers_numbers_are_refused(plain):
    with pytest.raises(ValueError, match=r"objective\.(mean|deviation)"):
        objective().take_up(plain)


def test_a_number_that_never_changes_is_refused():
    with pytest.raises(ValueError, match="number 2 is 3 for all training images"):
        objective().see_training_labels(torch.tensor([[0.0, 3.0], [1.0, 3.0]]))


def test_brightness_is_learned_from_a_table_tested_again_and_predicted_in_its_units(
    vitlab, photo_folder, tmp_path, monkeypatch, capfd
):
    from PIL import Image

    root = photo_folder(side=16, count=20)
    for place, file in enumerate(sorted(root.rglob("*.png"))):
        Image.fromarray(np.full((16, 16, 3), 3 * place + 20, np.uint8)).save(file)
    rows = [
        (str(file.relative_to(root)), 1000 + 3 * place + 20, -place)
        for place, file in enumerate(sorted(root.rglob("*.png")))
    ]
    with (tmp_path / "table.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("path", "grams", "debt"), *rows])
    small = ["data.image_size=16", "patch_size=8", "model.depth=1", "augment=none", "callbacks=[default]"]
    given = ["data=table", f"data.root={root}", "data.file=table.csv", "data.label_column=[grams,debt]"]
    given += ["data.batch_size=16", "data.val_fraction=0.2", "hardware=cpu", "trainer.max_epochs=30"]
    trained = vitlab(
        "train", *given, *small, "objective=regression", "optimizer.lr=5e-3", "hydra.run.dir=run"
    )
    assert trained.status == 0, trained.err
    metrics = json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]
    assert metrics["test/r2"] > 0.8 and metrics["test/mae"] < 20 and "test/mae_of/grams" in metrics
    assert (tmp_path / "run" / "figures" / "test_scatter.png").exists()
    tested = vitlab("test", "checkpoint=run", "hydra.run.dir=tested")
    assert tested.status == 0, tested.err
    again = json.loads((tmp_path / "tested" / "run.json").read_text())["metrics"]
    assert again["test/mae"] == pytest.approx(metrics["test/mae"], abs=1e-4)
    said = vitlab("predict", "checkpoint=run", f"images={root}", "hydra.run.dir=said")
    assert said.status == 0, said.err
    told = list(csv.DictReader((tmp_path / "said/predictions.csv").read_text().splitlines()))
    assert list(told[0]) == ["file", "grams", "debt"] and 900 < float(told[0]["grams"]) < 1300
    capfd.readouterr()
    for name in ("timm", "torch_export"):
        exported = vitlab("export", "checkpoint=run", f"format={name}", "hydra.run.dir=out")
        assert exported.status == 0 and "numbers, in the units of the data" in exported.out, exported
        monkeypatch.chdir(tmp_path / "out" / name)
        Path("picture.jpg").write_bytes((root / told[0]["file"]).read_bytes())
        page = Path("README.md").read_text()
        assert (
            "2 numbers of an image" in page and "- Numbers, in the units of the data, 2: grams, debt" in page
        )
        exec(page.partition("```python\n")[2].partition("```")[0], {})
        of_program = dict(line.split() for line in capfd.readouterr().out.splitlines()[-2:])
        for number in ("grams", "debt"):
            assert float(of_program[number]) == pytest.approx(float(told[0][number]), rel=1e-3, abs=0.05)
        monkeypatch.chdir(tmp_path)


def test_a_model_without_a_linear_head_is_exported_with_its_units():
    learned = objective()
    learned.see_training_labels(torch.tensor([[0.0, 10.0], [2.0, 30.0]]))
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.randn(3, 1, 2, 2)
    torch.testing.assert_close(learned.exported(model)(images), learned.numbers(model(images)))
