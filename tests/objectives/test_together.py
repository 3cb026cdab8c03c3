"""What several checkpoints, or several views, say together, by each objective's own rule; and which metrics
have no value on a split, whatever is said of it."""

import pytest
import torch

from vitlab.objectives.classification import Classification
from vitlab.objectives.multilabel import MultiLabel
from vitlab.objectives.regression import Regression


def test_numbers_that_were_standardised_each_in_its_own_way_are_averaged_in_their_units():
    members, learned, outputs = [], [], torch.randn(2, 5, 2)
    for mean, deviation in ((0.0, 1.0), (100.0, 20.0)):
        member = Regression(2, "val/mae", "min")
        member.take_up({"mean": torch.full((2,), mean), "deviation": torch.full((2,), deviation)})
        members.append(member)
        learned.append(member.learned())
    together = Regression(2, "val/mae", "min")
    assert together.take_up_together(learned) == ""
    views = torch.stack([outputs[0], outputs[0] + 1, outputs[1], outputs[1] + 1])  # two of each member
    expected = torch.stack([members[which // 2].numbers(views[which]) for which in range(4)]).mean(dim=0)
    torch.testing.assert_close(together.numbers(together.averaged(views)), expected)


def test_labels_are_averaged_as_probabilities_and_no_threshold_is_left():
    objective = MultiLabel(3, 0.0, "val/average_precision", "max")
    objective.take_up({"thresholds": torch.full((3,), 0.2), "energies": torch.tensor([-1.0])})
    assert "0.5" in objective.take_up_together([{}, {}]) and objective.thresholds is None
    outputs = torch.randn(4, 6, 3) * 5
    torch.testing.assert_close(objective.averaged(outputs).sigmoid(), outputs.sigmoid().mean(dim=0))


def test_the_energy_of_labels_is_the_sum_of_each_ones():
    objective = MultiLabel(3, 0.0, "val/average_precision", "max")
    outputs = torch.randn(4, 3)
    torch.testing.assert_close(objective.energy(outputs), -outputs.exp().add(1).log().sum(dim=1))
    objective.see_validation(outputs, torch.randint(0, 2, (4, 3)))
    objective.end_validation()
    other = MultiLabel(3, 0.0, "val/average_precision", "max")
    other.take_up(objective.learned())
    assert torch.equal(other.usual_energies, objective.energy(outputs).sort().values)
    with pytest.raises(ValueError, match=r"objective\.energies"):
        other.take_up({"thresholds": torch.zeros(3), "energies": [1.0]})


def test_metrics_without_a_value_are_told_from_the_labels_alone():
    one = Classification(2, 0.0, "val/auroc", "max", metrics=["accuracy", "auroc", "f1_macro"])
    assert one.undefined_on(torch.zeros(8, dtype=torch.int64)) == ["auroc"]
    assert one.undefined_on(torch.arange(8) % 2) == []
    several = MultiLabel(2, 0.0, "val/auroc", "max", metrics=["auroc", "f1_macro", "exact_match"])
    assert several.undefined_on(torch.tensor([[0, 1]] * 4)) == ["auroc"]
    assert several.undefined_on(torch.zeros(4, 2, dtype=torch.int64)) == ["auroc", "f1_macro"]
    assert several.undefined_on(torch.tensor([[0, 1], [1, 1]])) == []
    assert Regression(1, "val/mae", "min").undefined_on(torch.ones(1, 1)) == ["r2"]


def test_an_error_is_what_a_score_lacks_or_the_score_where_less_is_better():
    assert MultiLabel(2, 0.0, "val/loss", "min").score == "average_precision"
    assert MultiLabel(2, 0.0, "val/loss", "min").error_of(0.75) == 0.25
    assert Regression(1, "val/rmse", "min").score == "rmse"
    assert Regression(1, "val/rmse", "min").error_of(0.75) == 0.75
    with pytest.raises(ValueError, match="takes two labels or more"):
        MultiLabel(1, 0.0, "val/loss", "min")
