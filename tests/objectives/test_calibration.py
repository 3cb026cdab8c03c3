"""A temperature takes back what was added, and sets of classes hold the truth as often as they say."""

import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from vitlab.objectives.calibration import COVERAGES, Calibration
from vitlab.objectives.reliability import error_by_chance, quality
from vitlab.objectives.temperature import fit_temperature


def sample(count, seed, temperature=1.0, classes=5):
    """Scores whose softmax at `temperature` is the true probability of each label."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator) * 2
    return logits * temperature, logits.softmax(dim=1).multinomial(1, generator=generator)[:, 0]


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_is_what_scores_were_multiplied_by(true):
    assert fit_temperature(*sample(20_000, 0, true)) == pytest.approx(true, rel=0.03)


def test_the_temperature_is_scipys():
    logits, labels = sample(500, 1, 2.0)

    def loss(temperature):
        shares = (logits.double() / temperature).softmax(dim=1)
        return log_loss(labels, shares, labels=range(5))

    theirs = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-7}).x
    assert fit_temperature(logits, labels) == pytest.approx(theirs, abs=1e-4)


def test_answers_without_a_mistake_are_not_made_sharper():
    logits, _ = sample(50, 0)
    assert fit_temperature(logits, logits.argmax(dim=1)) == 1.0


@pytest.mark.parametrize("labels", ["right", "wrong"])
def test_a_model_that_is_always_right_or_always_wrong_has_a_temperature_too(labels):
    logits = torch.eye(5).repeat(10, 1) * 8
    truth = torch.arange(50) % 5 if labels == "right" else (torch.arange(50) + 1) % 5
    assert 0.01 < fit_temperature(logits, truth) < 100


def test_sets_hold_the_truth_as_often_as_they_say_on_images_they_never_saw():
    calibration = Calibration.fitted(*sample(4000, 2, 2.0))
    numbers = calibration.held_out(*sample(4000, 3, 2.0))
    for coverage in COVERAGES:
        assert numbers[f"coverage_at/{coverage}"] == pytest.approx(coverage, abs=0.02)
    assert numbers["set_size_at/0.8"] < numbers["set_size_at/0.95"] < 5
    assert numbers["ece_scaled"] < 0.02 < quality(*sample(4000, 3, 2.0))["ece"]
    assert 0 < numbers["ece_scaled_by_chance"] < 0.02


def test_how_near_sets_come_is_said_as_drawings_of_the_validation_images_have_it():
    others = sample(4000, 4)
    held = [
        Calibration.fitted(*sample(146, seed)).held_out(*others)["coverage_at/0.9"] for seed in range(10, 110)
    ]
    low, high = torch.tensor(held).quantile(torch.tensor([0.025, 0.975])).tolist()
    told = Calibration.fitted(*sample(146, 0)).told_of_sets(0.9)
    assert told == (
        "sets for 90% of cases: 146 validation image(s), on which they were fitted, leave open 84% to 94%"
    )
    assert (low, high) == pytest.approx((0.84, 0.94), abs=0.015)


def test_a_split_too_small_to_promise_anything_gives_all_classes():
    calibration = Calibration.fitted(*sample(8, 0))
    assert calibration.threshold(0.95) == 1.0
    assert calibration.told_of_sets(0.95).endswith("are too few, so that they hold all classes")
    assert calibration.sets(torch.full((1, 5), 0.2), 0.95).all()


def test_a_calibration_goes_through_a_checkpoint_and_a_strangers_is_refused():
    calibration = Calibration.fitted(*sample(100, 0))
    again = Calibration.from_plain(calibration.as_plain())
    assert again.temperature == calibration.temperature and torch.equal(again.scores, calibration.scores)
    for wrong in (
        {"temperature": "1"},
        {"temperature": float("nan")},
        {"scores": [0.1]},
        {"scores": torch.tensor([2.0])},
    ):
        with pytest.raises(ValueError, match=r"objective\.(temperature|scores)"):
            Calibration.from_plain(calibration.as_plain() | wrong)


def test_a_temperature_is_kept_only_where_images_it_was_not_fitted_to_tell_it_from_chance():
    few, many = Calibration.fitted(*sample(40, 5, 1.1)), Calibration.fitted(*sample(3000, 5, 1.3))
    assert few.evidence and few.temperature == 1.0 and few.evidence.tried != 1.0
    assert "too little to tell it from chance" in few.how_sure() and "40 validation images" in few.how_sure()
    assert many.temperature == pytest.approx(1.3, rel=0.05) and many.evidence.is_enough
    logits, labels = sample(3000, 6, 1.3)
    truly = quality(logits, labels)["nll"] - quality(logits / many.temperature, labels)["nll"]
    assert many.evidence.gain == pytest.approx(truly, abs=4 * many.evidence.error)
    again = Calibration.from_plain(few.as_plain())
    assert again.evidence == few.evidence
    with pytest.raises(ValueError, match=r"objective\.evidence"):
        Calibration.from_plain(few.as_plain() | {"evidence": {"gain": 1}})


def test_the_error_by_chance_is_that_of_models_that_mean_what_they_say():
    mean, most = error_by_chance(sample(300, 0)[0].softmax(dim=1))
    errors = [quality(*sample(300, seed))["ece"] for seed in range(40)]
    assert sum(errors) / 40 == pytest.approx(mean, rel=0.15)
    assert sum(error > most for error in errors) <= 8
    assert quality(*sample(300, 7, 3.0))["ece"] > most
