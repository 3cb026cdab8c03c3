"""Metrics by name are those of the literature: scikit-learn's numbers, and none of a class without images."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch.nn import functional as F

from vitlab.objectives.direction import mode_of
from vitlab.objectives.metrics import OF_CLASSES, chosen_metrics
from vitlab.objectives.reliability import NUM_BINS

CLASSES = 5


def sample(absent=()):
    """Scores of 400 images, and labels that they tell something of; some classes have no image."""
    generator = torch.Generator().manual_seed(0)
    kept = torch.tensor([label for label in range(CLASSES) if label not in absent])
    labels = kept[torch.randint(len(kept), (400,), generator=generator)]
    logits = torch.randn(400, CLASSES, generator=generator) + 1.5 * F.one_hot(labels, CLASSES)
    return logits, labels


def measured(name, logits, labels):
    metric = OF_CLASSES[name].make(CLASSES)
    for some, their in zip(logits.split(150), labels.split(150), strict=True):
        metric.update(some, their)
    return float(metric.compute())


def by_scikit_learn(name, logits, labels):
    shares, said, truth = logits.double().softmax(dim=1).numpy(), logits.argmax(dim=1).numpy(), labels.numpy()
    here = sorted(set(truth))
    of_classes = {"labels": here, "average": "macro", "zero_division": 0}
    one_hot = np.eye(CLASSES)[truth]
    return {
        "accuracy": lambda: sk.accuracy_score(truth, said),
        "balanced_accuracy": lambda: np.mean([(said[truth == label] == label).mean() for label in here]),
        "recall_macro": lambda: sk.recall_score(truth, said, **of_classes),
        "precision_macro": lambda: sk.precision_score(truth, said, **of_classes),
        "f1_macro": lambda: sk.f1_score(truth, said, **of_classes),
        "specificity_macro": lambda: np.mean([(said[truth != label] != label).mean() for label in here]),
        "auroc": lambda: np.mean([sk.roc_auc_score(truth == label, shares[:, label]) for label in here]),
        "average_precision": lambda: np.mean(
            [sk.average_precision_score(truth == label, shares[:, label]) for label in here]
        ),
        "cohen_kappa": lambda: sk.cohen_kappa_score(truth, said),
        "mcc": lambda: sk.matthews_corrcoef(truth, said),
        "nll": lambda: sk.log_loss(truth, shares, labels=range(CLASSES)),
        "brier": lambda: ((shares - one_hot) ** 2).sum(axis=1).mean(),
        "ece": lambda: calibration_error(shares.max(axis=1), said == truth),
    }[name]()


def calibration_error(surely, right):
    bins = np.minimum((surely * NUM_BINS).astype(int), NUM_BINS - 1)
    return sum(
        (bins == each).mean() * abs(surely[bins == each].mean() - right[bins == each].mean())
        for each in set(bins)
    )


@pytest.mark.filterwarnings("ignore:.*sum to one.*:UserWarning")
@pytest.mark.parametrize("absent", [(), (3,)], ids=["all classes", "a class without images"])
@pytest.mark.parametrize("name", [name for name in OF_CLASSES if name != "accuracy_top5"])
def test_a_metric_is_scikit_learns_over_the_classes_that_have_images(name, absent):
    logits, labels = sample(absent)
    assert measured(name, logits, labels) == pytest.approx(by_scikit_learn(name, logits, labels), abs=1e-6)


def test_a_name_that_is_none_is_refused_with_those_that_are():
    with pytest.raises(
        ValueError, match=r"metrics: f1 is none of this objective's; known: accuracy, .*f1_macro"
    ):
        chosen_metrics(["accuracy", "f1"], OF_CLASSES, CLASSES)
    assert set(chosen_metrics(["accuracy", "accuracy_top5"], OF_CLASSES, CLASSES)) == {"accuracy"}


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val/accuracy", "max"), ("val/loss", "min"), ("val/ece", "min")]
)
def test_which_way_is_better_follows_from_the_name(monitor, mode):
    assert mode_of(monitor) == mode
