"""Several labels an image: losses, metrics and thresholds are those of the literature and of other
libraries, and a label that no image has is given no number."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from vitlab.data.augment.mixing import mix
from vitlab.data.source import Batch
from vitlab.objectives.examiner import Exam
from vitlab.objectives.label_examiner import LabelExaminer
from vitlab.objectives.label_losses import asymmetric_loss, labels_loss, positive_weights
from vitlab.objectives.label_metrics import OF_LABELS
from vitlab.objectives.multilabel import MultiLabel
from vitlab.objectives.thresholds import as_thresholds, fit_thresholds

NAMES = ["ash", "birch", "cedar", "dogwood"]


def sample(absent=(), count=300):
    """Scores of images, and labels that they tell something of; some labels no image has."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(count, len(NAMES), generator=generator) < 0.3).to(torch.int8)
    labels[:, list(absent)] = 0
    logits = 2 * torch.randn(count, len(NAMES), generator=generator) + 3 * labels - 1
    return logits, labels


def objective(**given):
    return MultiLabel(len(NAMES), monitor="val/loss", mode="min", **{"label_smoothing": 0.0} | given)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("gammas", "clip"), [((4.0, 1.0), 0.05), ((2.0, 0.0), 0.0)])
def test_the_asymmetric_loss_is_timms_also_of_mixed_labels(smoothing, weighted, gammas, clip):
    loss = pytest.importorskip("timm.loss").AsymmetricLossMultiLabel
    logits, labels = sample()
    mixed = 0.7 * labels.float() + 0.3 * labels.float().roll(1, 0)
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0]) if weighted else None
    theirs = loss(*gammas, clip, smoothing=smoothing, reduction="mean", pos_weight=weight)
    for each in (labels, mixed):
        ours = asymmetric_loss(logits, each, *gammas, clip, smoothing, weight)
        assert float(ours) == pytest.approx(float(theirs(logits, each)), abs=1e-6)


def test_binary_cross_entropy_on_numbers_that_one_can_check_by_hand():
    logits, labels = torch.tensor([[0.0, np.log(3)]]), torch.tensor([[1, 0]], dtype=torch.int8)
    half, quarter = np.log(2), -np.log(0.25)
    assert float(labels_loss(logits, labels)) == pytest.approx((half + quarter) / 2, abs=1e-6)
    weighted = labels_loss(logits, labels, positive_weight=torch.tensor([3.0, 5.0]))
    assert float(weighted) == pytest.approx((3 * half + quarter) / 2, abs=1e-6)
    smoothed = labels_loss(logits, labels, smoothing=0.2)  # 1 becomes 0.9, 0 becomes 0.1
    of_second = 0.1 * -np.log(0.75) + 0.9 * quarter
    assert float(smoothed) == pytest.approx((half + of_second) / 2, abs=1e-6)


def test_positive_weights_make_both_sides_of_a_label_weigh_the_same():
    labels = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=torch.int8)
    assert positive_weights(labels).tolist() == pytest.approx([3.0, 1.0, 1 / 3])
    told = objective(positive_weights="auto")
    told.see_training_labels(torch.cat([labels, labels[:, :1]], dim=1))
    assert told.weight.tolist() == pytest.approx([3.0, 1.0, 1 / 3, 3.0])


def test_mixing_keeps_a_label_that_both_have_and_shares_the_others():
    labels = torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.int8)
    kept = torch.tensor([0.75, 0.25]).view(2, 1, 1, 1)
    images, mixed = mix(torch.zeros(2, 1, 4, 4), labels, kept, 3)
    assert mixed.tolist() == [[1.0, 0.75, 0.0], [1.0, 0.75, 0.0]] and images.shape == (2, 1, 4, 4)
    outcome = objective().loss(nn.Identity(), Batch(torch.zeros(2, 4), torch.rand(2, 4), 0))
    assert float(outcome.loss) == pytest.approx(np.log(2), abs=1e-6)  # whatever the shares: nothing is known


def by_scikit_learn(name, logits, labels):
    shares, truth = logits.sigmoid().numpy(), labels.numpy()
    said = shares > 0.5
    here = [label for label in range(len(NAMES)) if truth[:, label].sum() > 0]
    macro, micro = ({"average": average, "zero_division": 0} for average in ("macro", "micro"))
    return {
        "average_precision": lambda: sk.average_precision_score(
            truth[:, here], shares[:, here], average="macro"
        ),
        "auroc": lambda: sk.roc_auc_score(truth[:, here], shares[:, here], average="macro"),
        "f1_macro": lambda: sk.f1_score(truth[:, here], said[:, here], **macro),
        "precision_macro": lambda: sk.precision_score(truth[:, here], said[:, here], **macro),
        "recall_macro": lambda: sk.recall_score(truth[:, here], said[:, here], **macro),
        "specificity_macro": lambda: sk.recall_score(~truth[:, here].astype(bool), ~said[:, here], **macro),
        "f1_micro": lambda: sk.f1_score(truth, said, **micro),
        "precision_micro": lambda: sk.precision_score(truth, said, **micro),
        "recall_micro": lambda: sk.recall_score(truth, said, **micro),
        "exact_match": lambda: sk.accuracy_score(truth, said),
        "hamming": lambda: sk.hamming_loss(truth, said),
        "ranking_precision": lambda: sk.label_ranking_average_precision_score(truth, shares),
    }[name]()


@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize("absent", [(), (1,)], ids=["all labels", "one without images"])
def test_metrics_are_scikit_learns_over_the_labels_that_have_images(name, absent):
    logits, labels = sample(absent)
    metric = OF_LABELS[name].make(len(NAMES))
    for some, their in zip(logits.split(110), labels.split(110), strict=True):
        metric.update(some, their)
    assert float(metric.compute()) == pytest.approx(by_scikit_learn(name, logits, labels), abs=1e-6)


def test_scores_between_0_and_1_are_no_probabilities():
    labels = torch.tensor([[1, 0, 1, 0]], dtype=torch.int8)
    metric = OF_LABELS["f1_micro"].make(4)
    metric.update(torch.full((1, 4), 0.3), labels)  # all above 0: a yes
    assert float(metric.compute()) == pytest.approx(2 / 3)


def test_thresholds_give_the_highest_f1_that_any_threshold_gives():
    logits, labels = sample((2,))
    probabilities = logits.sigmoid()
    fitted = fit_thresholds(probabilities, labels)
    assert float(fitted[2]) == 0.5  # nothing tells it
    for label in (0, 1, 3):
        truth, shares = labels[:, label].numpy(), probabilities[:, label].numpy()
        best = max(sk.f1_score(truth, shares >= cut) for cut in shares)
        assert sk.f1_score(truth, shares >= float(fitted[label])) == pytest.approx(best)


@pytest.mark.parametrize(
    "plain", [None, {"thresholds": 3}, {"thresholds": torch.ones(3)}, {"thresholds": torch.full((4,), 2.0)}]
)
def test_thresholds_of_a_strangers_file_are_refused(plain):
    with pytest.raises(ValueError, match=r"objective\.thresholds"):
        as_thresholds(plain, 4)


def test_answers_are_the_labels_at_their_thresholds_in_the_columns_that_people_load():
    told = objective()
    told.take_up({"thresholds": torch.tensor([0.9, 0.2, 0.5, 0.5])})
    scores = torch.tensor([[0.8, 0.3, 0.6, 0.1], [0.1, 0.1, 0.1, 0.1]]).logit()
    first, second = told.answers(scores, NAMES, 1)
    assert [name for name, _ in first] == ["ash", "cedar", "birch", "dogwood"]
    assert told.found(first, NAMES) == ["cedar", "birch"] and told.explained(first, NAMES) == [
        "cedar",
        "birch",
    ]
    assert told.columns(NAMES, 1) == ["labels", *NAMES]
    assert told.cells(first, NAMES, 1) == ["birch;cedar", "0.800000", "0.300000", "0.600000", "0.100000"]
    assert told.found(second, NAMES) == [] and told.cells(second, NAMES, 1)[0] == ""
    assert told.told(second, NAMES, 1)[0][0].startswith("none")


def test_a_report_gives_no_number_of_a_label_without_images_and_shows_what_was_missed():
    logits, labels = sample((1,), count=60)
    exam = Exam(tuple(NAMES), [0.5], [0.5], 6, torch.nn.Identity())
    examiner = LabelExaminer(exam, torch.full((4,), 0.4))
    examiner.add(logits, Batch(torch.zeros(60, 1, 8, 8), labels, 0))
    numbers, pictures = examiner.finish()
    assert "f1_of/birch" not in numbers and "average_precision_of/birch" not in numbers
    said = logits.sigmoid().numpy() >= 0.4
    assert numbers["f1_of/ash"] == pytest.approx(sk.f1_score(labels[:, 0], said[:, 0]))
    here = [0, 2, 3]
    assert numbers["f1_macro_tuned"] == pytest.approx(
        sk.f1_score(labels[:, here], said[:, here], average="macro")
    )
    assert numbers["f1_micro_tuned"] == pytest.approx(sk.f1_score(labels, said, average="micro"))
    assert numbers["exact_match_tuned"] == pytest.approx(sk.accuracy_score(labels, said))
    assert set(pictures) == {"per_label", "mistakes"}
    wrong = [
        mistake for mistake in examiner.mistakes if mistake.true[mistake.label] == mistake.said[mistake.label]
    ]
    assert len(examiner.mistakes) == 6 and not wrong


BAD = {
    "smoothing": ({"label_smoothing": 1.0}, "objective.label_smoothing=1.0 must lie from 0"),
    "gamma": ({"gamma_negative": -1.0}, "objective.gamma_negative=-1.0 must be 0 or more"),
    "clip": ({"clip": 1.0}, "objective.clip=1.0"),
    "weights": ({"positive_weights": [1.0]}, "1 number(s) for 4 labels"),
    "no weight": ({"positive_weights": [0.0, 1.0, 1.0, 1.0]}, "must be above 0"),
    "metric": ({"metrics": ["accuracy"]}, "accuracy is none of this objective's"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name):
    given, says = BAD[name]
    with pytest.raises(ValueError) as complaint:
        objective(**given)
    assert says in str(complaint.value) and "\n" not in str(complaint.value)
