"""A user's own objective, from a package outside this repository: one Python file and one YAML."""

import json
import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from vitlab.runs.record import load_record

PACKAGE = '''
"""How large the number on a picture is, as a number."""

import torch.nn.functional as F
from torchmetrics import MeanAbsoluteError

from vitlab.objectives.objective import Objective, Outcome


class Regression(Objective):
    """One number an image, by mean squared error."""

    headline = ("mae",)

    def loss(self, model, batch):
        told = self.outputs(model, batch.images)
        return Outcome(F.mse_loss(told[:, 0], batch.labels.float()), told)

    def metrics(self):
        return {"mae": MeanAbsoluteError()}

    def measure(self, metric, outcome, batch):
        metric.update(outcome.outputs[:, 0], batch.labels.float())
'''

CONF = """
_target_: tenant_regression.Regression
num_outputs: 1
monitor: val/mae
mode: min
"""

SHORT = (
    "objective=digit_value",
    "data=digits",
    "hardware=cpu",
    "schedule.warmup_ratio=0.1",
    "trainer.log_every_n_steps=10",
)


@pytest.fixture
def regression(own_package):
    """Returns the options that find the package."""
    return own_package("tenant_regression", PACKAGE, "objective/digit_value", CONF)


def test_an_objective_of_ones_own_trains_is_tested_listed_reported_and_asked(
    vitlab, regression, tmp_path, photo_folder
):
    run = tmp_path / "run"
    trained = vitlab(
        "train",
        *regression,
        *SHORT,
        "trainer.max_epochs=10",
        "callbacks.attention.num_scored=8",
        "callbacks.attention.num_shown=2",
        "optimizer.lr=2e-2",
        "augment=none",
        f"hydra.run.dir={run}",
    )
    assert trained.status == 0, trained.err
    record = load_record(run)
    metrics = record["metrics"]
    assert metrics["test/mae"] < 1.8  # the best constant, 4.5, is 2.5 off
    assert metrics["best/val/mae"] == pytest.approx(metrics["val/mae"], rel=0.2)
    assert not [name for name in metrics if "accuracy" in name]
    assert f"test mae {metrics['test/mae']:.4f}, loss" in trained.out + trained.err
    assert "vitlab inspect" not in trained.out + trained.err  # it would be refused
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(value) for row in history for value in row.values())
    assert any("train/loss" in row for row in history) and not any("train/accuracy" in row for row in history)

    shown = EventAccumulator(str(run)).Reload()
    assert [tag for tag in shown.Tags()["scalars"] if tag.startswith("1_")] == ["1_mae/val"]
    content = shown.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    first = layout_pb2.Layout.FromString(content).category[0]
    assert first.title == "Loss and mae"
    assert list(first.chart[1].multiline.tag) == ["1_mae/train$", "1_mae/val$"]

    best = run / "checkpoints" / "best.ckpt"
    tested = vitlab("test", f"checkpoint={best}", "hydra.run.dir=tested")
    assert tested.status == 0, tested.err
    assert load_record(tmp_path / "tested")["metrics"]["test/mae"] == pytest.approx(
        metrics["test/mae"], abs=1e-6
    )

    listed = vitlab("list", str(tmp_path), "--json")
    (shown,) = (each["best"] for each in json.loads(listed.out) if each["folder"] == str(run))
    assert shown == {"metric": "val/mae", "value": metrics["best/val/mae"]}

    photos = photo_folder("photos", count=1, side=8)
    said = vitlab("predict", f"checkpoint={best}", f"images={photos}", "hydra.run.dir=said")
    assert said.status == 0, said.err
    header, *rows = (tmp_path / "said" / "predictions.csv").read_text().splitlines()
    assert header == "file,output_1,value_1"
    assert all(row.split(",")[1] == "output_0" and -20 < float(row.split(",")[2]) < 30 for row in rows)

    for command in (("inspect",), ("export", "format=onnx")):
        refused = vitlab(*command, f"checkpoint={best}", "hydra.run.dir=refused")
        assert refused.status == 2 and "the objective Regression gives none" in refused.err, refused.err


def test_a_sweep_looks_for_what_ones_own_objective_monitors(vitlab, regression, tmp_path):
    given = [
        *regression,
        *SHORT,
        "callbacks=[default]",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
    ]
    swept = vitlab("train", "-m", *given, "seed=0,1", "sweep.name=seeds", "sweep.print_commands=true")
    assert swept.status == 0, swept.err
    facts = json.loads((tmp_path / "outputs" / "train" / "seeds" / "sweep.json").read_text())
    assert (facts["metric"], facts["direction"]) == ("best/val/mae", "minimize")
