"""Losses are what their papers say: other libraries' numbers, and numbers by hand."""

import math

import numpy as np
import pytest
import torch
from timm.loss import BinaryCrossEntropy as TimmBinaryCrossEntropy
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from vitlab.objectives.binary import BinaryCrossEntropy
from vitlab.objectives.classification import Classification
from vitlab.objectives.losses import focal_loss, weights_of_classes

LOGITS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)) * 2
LABELS = torch.arange(16) % 4
MIXED = (F.one_hot(LABELS, 4) * 0.7 + F.one_hot(LABELS.roll(1), 4) * 0.3).float()
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.0])


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("labels", [LABELS, MIXED], ids=["whole", "mixed"])
def test_a_focal_loss_with_gamma_0_is_cross_entropy(labels, smoothing, weight):
    theirs = F.cross_entropy(LOGITS, labels, weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(
        focal_loss(LOGITS, labels, 0.0, weight, smoothing), theirs, rtol=1e-6, atol=1e-6
    )


def test_a_focal_loss_of_two_classes_is_torchvisions_of_their_difference():
    logits, labels = LOGITS[:, :2], LABELS % 2
    theirs = sigmoid_focal_loss(
        logits[:, 1] - logits[:, 0], labels.float(), alpha=-1, gamma=2, reduction="mean"
    )
    torch.testing.assert_close(focal_loss(logits, labels, 2.0), theirs, rtol=1e-6, atol=1e-6)


def test_a_focal_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 1/4 and 3/4
    assert float(focal_loss(logits, torch.tensor([1]), 2.0)) == pytest.approx(
        0.25**2 * math.log(4 / 3), rel=1e-6
    )


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5])
@pytest.mark.parametrize("labels", [LABELS, MIXED], ids=["whole", "mixed"])
def test_binary_cross_entropy_is_timms(labels, threshold):
    ours = BinaryCrossEntropy(4, 0.0, "val/accuracy", "max", target_threshold=threshold)
    theirs = TimmBinaryCrossEntropy(smoothing=0.0, target_threshold=threshold)
    torch.testing.assert_close(ours._own_loss(LOGITS, labels), theirs(LOGITS, labels), rtol=1e-6, atol=1e-6)


def test_smoothed_binary_cross_entropy_is_timms():
    ours = BinaryCrossEntropy(4, 0.1, "val/accuracy", "max")
    theirs = TimmBinaryCrossEntropy(smoothing=0.1)
    torch.testing.assert_close(ours._own_loss(LOGITS, LABELS), theirs(LOGITS, LABELS), rtol=1e-6, atol=1e-6)


def test_weights_in_inverse_proportion_are_scikit_learns_and_effective_ones_those_of_their_paper():
    from sklearn.utils.class_weight import compute_class_weight

    labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    counts = labels.bincount()
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert weights_of_classes(counts, "auto").tolist() == pytest.approx(theirs, rel=1e-6)
    each = [(1 - 0.999) / (1 - 0.999**count) for count in (90, 9, 1)]
    effective = weights_of_classes(counts, "effective")
    assert (effective / effective[0]).tolist() == pytest.approx([value / each[0] for value in each], rel=1e-5)
    assert float((effective[labels]).mean()) == pytest.approx(1.0)


def test_weights_follow_the_training_images_and_a_class_without_any_has_none():
    objective = Classification(4, 0.0, "val/accuracy", "max", class_weights="auto")
    objective.see_training_labels(torch.tensor([0, 0, 0, 1, 2]))
    assert objective.weight.tolist() == pytest.approx([5 / 9, 5 / 3, 5 / 3, 0.0])
    torch.testing.assert_close(
        objective._own_loss(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, weight=objective.weight)
    )
    assert "weight" not in objective.state_dict()


SAMPLES = torch.rand(16, generator=torch.Generator().manual_seed(1)) * 2


@pytest.mark.parametrize("labels", [LABELS, MIXED], ids=["whole", "mixed"])
def test_weights_of_samples_multiply_the_loss_of_each(labels):
    cross = Classification(4, 0.1, "val/accuracy", "max")
    each = F.cross_entropy(LOGITS, labels, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(cross._own_loss(LOGITS, labels, SAMPLES), (SAMPLES * each).mean())
    binary = BinaryCrossEntropy(4, 0.0, "val/accuracy", "max", class_weights=[1.0, 2.0, 3.0, 0.0])
    shares = labels if labels.ndim == 2 else F.one_hot(labels, 4).float()
    each = F.binary_cross_entropy_with_logits(LOGITS, shares, weight=binary.weight, reduction="none")
    torch.testing.assert_close(binary._own_loss(LOGITS, labels, SAMPLES), (SAMPLES * each.mean(1)).mean())


@pytest.mark.parametrize("options", [{}, {"class_weights": [0.5, 1.0, 2.0, 0.0]}, {"focal_gamma": 2.0}])
def test_samples_that_weigh_1_have_the_loss_that_they_have_without_weights(options):
    objective = Classification(4, 0.1, "val/accuracy", "max", **options)
    weighed = objective._own_loss(LOGITS, LABELS, torch.ones(16))
    torch.testing.assert_close(weighed, objective._own_loss(LOGITS, LABELS))


WRONG = [
    ({"class_weights": [1.0, 2.0]}, r"objective.class_weights=\[1.0, 2.0\] has 2 number\(s\) for 4 classes"),
    ({"class_weights": [1.0, 2.0, -1.0, 0.0]}, "must be 0 or more"),
    ({"focal_gamma": -1.0}, "objective.focal_gamma=-1.0 must be 0 or more"),
    ({"metrics": ["f1"]}, "metrics: f1 is none of this objective's"),
    ({"focal_gamma": 2.0, "criterion": torch.nn.CrossEntropyLoss()}, "focal_gamma=2.0 has no effect beside"),
]


@pytest.mark.parametrize(("options", "says"), WRONG, ids=[str(options) for options, _ in WRONG])
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(ValueError, match=says):
        Classification(4, 0.0, "val/accuracy", "max", **options)
