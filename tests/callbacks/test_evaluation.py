"""What a test says of each class."""

import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from vitlab.callbacks.evaluation import Examination
from vitlab.loggers.json_lines import MetricHistory
from vitlab.objectives.per_class import of_each_class
from vitlab.pictures.figures import confusion_figure, drawn
from vitlab.pictures.per_class import per_class_figure


def test_a_class_without_test_images_has_no_accuracy_and_the_others_have_their_own(tiny_training, tmp_path):
    classifier, data = tiny_training
    data.setup()
    split = data.splits["test"]
    kept = split.labels != 3
    split.indices, split.labels = split.indices[kept], split.labels[kept]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
    report = Examination(str(tmp_path / "figures"), num_mistakes=2)
    trainer = pl.Trainer(accelerator="cpu", callbacks=[report], logger=MetricHistory(tmp_path), **quiet)
    trainer.test(classifier, datamodule=data, verbose=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = {
        name: value for row in rows for name, value in row.items() if name.startswith("test/accuracy_of/")
    }
    assert set(logged) == {f"test/accuracy_of/{name}" for name in data.class_names if name != "3"}
    assert logged == {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("test/accuracy_of/")
    }

    pixels = split.samples.images[split.indices].float() / 255
    with torch.no_grad():
        predicted = classifier.eval()((pixels - 0.3) / 0.38).argmax(dim=1)
    for name, value in logged.items():
        of_class = split.labels == int(name[-1])
        assert value == pytest.approx(float((predicted == split.labels)[of_class].double().mean()))


def test_a_class_without_images_has_a_grey_row_and_no_bar():
    true, predicted = torch.tensor([0, 0, 2]), torch.tensor([0, 2, 2])
    (image,) = confusion_figure(true, predicted, ("ash", "birch", "cedar")).axes[0].images
    assert np.ma.filled(image.get_array(), -1).tolist() == [[0.5, 0, 0.5], [-1, -1, -1], [0, 0, 1]]
    scores = torch.nn.functional.one_hot(predicted, 3).float()
    bars, table = per_class_figure(of_each_class(scores, true), ("ash", "birch", "cedar")).axes
    assert [label.get_text() for label in bars.get_yticklabels()] == ["ash", "cedar", "birch"]
    assert [text.get_text() for text in bars.texts] == ["no images"]
    images, precision, recall, f1, auroc = np.array([text.get_text() for text in table.texts]).reshape(5, 4)
    assert images.tolist() == ["images", "2", "1", "0"]
    assert precision.tolist() == ["precision", "1.00", "0.50", "–"]
    assert recall.tolist() == ["recall", "0.50", "1.00", "–"]
    assert f1.tolist() == ["F1", "0.67", "0.67", "–"] and auroc.tolist() == ["AUROC", "0.75", "0.75", "–"]


def test_five_thousand_classes_are_drawn_in_pictures_of_ordinary_size():
    true = torch.arange(5000).repeat(2)
    predicted = torch.where(torch.arange(10_000) < 5100, true, 0)
    names = tuple(f"class {number}" for number in range(5000))
    confusion = confusion_figure(true, predicted, names)
    assert confusion.axes[0].get_title() == "5100 of 10000 correct"
    (image,) = confusion.axes[0].images
    np.testing.assert_allclose(
        np.diag(image.get_array())[10:], 0.5
    )  # of ten classes to a cell, half of the images
    scores = torch.zeros(10_000, 5000).scatter_(1, predicted[:, None], 1.0)
    bars = per_class_figure(of_each_class(scores, true, 200), names)
    assert "200 of 5,000 classes, the lowest" in bars.axes[0].get_xlabel()
    assert max(*drawn(confusion).shape, *drawn(bars).shape) < 6000
