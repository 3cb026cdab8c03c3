"""Metrics of weighted images are those of the images written so often, and torchmetrics' where all count
once."""

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from vitlab.objectives.metrics import OF_CLASSES
from vitlab.objectives.per_class import as_rows, of_each_class
from vitlab.objectives.weighted import Curve, of_classes


def sample(count=400, classes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes - 1, (count,), generator=generator)  # the last class has no image
    logits = torch.randn(count, classes, generator=generator)
    return (logits + 2 * torch.nn.functional.one_hot(labels, classes)).round(decimals=1), labels


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_weighted_metric_is_torchmetrics_own_on_the_images_written_as_often_as_they_weigh(name):
    logits, labels = sample()
    weights = torch.randint(4, (len(labels), 2), generator=torch.Generator().manual_seed(1)).float()
    weights = torch.cat([torch.ones(len(labels), 1), weights], dim=1)
    found = of_classes(logits, labels)[name]()(weights)
    for column, value in zip(weights.T, found.tolist(), strict=True):
        drawn = torch.repeat_interleave(column.long())
        theirs = OF_CLASSES[name].make(logits.shape[1])
        theirs.update(logits[drawn], labels[drawn])
        assert value == pytest.approx(float(theirs.compute()), abs=2e-6)


def test_a_curve_with_equal_scores_is_scikit_learns():
    generator = torch.Generator().manual_seed(2)
    scores, positive = torch.randint(6, (90,), generator=generator) / 6, torch.arange(90) % 3 == 0
    times = torch.randint(3, (90, 1), generator=generator).float()
    curve, known = Curve(scores, positive), (positive, scores)
    assert float(curve.auroc(times)) == pytest.approx(roc_auc_score(*known, sample_weight=times[:, 0]))
    theirs = average_precision_score(*known, sample_weight=times[:, 0])
    assert float(curve.average_precision(times)) == pytest.approx(theirs)


def test_the_table_of_classes_is_scikit_learns_and_a_class_without_images_has_only_its_count():
    logits, labels = sample()
    columns, said = of_each_class(logits, labels), logits.argmax(dim=1)
    there = range(6)
    for name, theirs in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = theirs(labels, said, labels=there, average=None, zero_division=0)
        assert columns[name][:6].tolist() == pytest.approx(expected.tolist())
    expected = [roc_auc_score(labels == index, logits.softmax(dim=1)[:, index]) for index in there]
    assert columns["auroc"][:6].tolist() == pytest.approx(expected)
    assert as_rows(columns, list("abcdefg"))[7] == ["g", "0", "", "", "", ""]
