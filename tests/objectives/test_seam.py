"""What a user's own objective gets wrong is said in a line, and kept outputs are judged as they were."""

import pytest
import torch
from torch import nn

from vitlab.config.from_python import plain_config
from vitlab.data.source import Batch
from vitlab.evaluation.answers import Answers, score_of
from vitlab.objectives.classification import Classification
from vitlab.objectives.objective import Objective, Outcome


class OfPixels(Objective):
    """Its loss needs what the model makes of pixels, and not its outputs alone."""

    def loss(self, model, batch):
        seen = model.encode(batch.images)
        return Outcome(seen.square().mean(), seen)


class OfPixelsAndSaysSo(OfPixels):
    loss_from_outputs = False


class WithCentre(OfPixels):
    def __init__(self):
        super().__init__(1, "val/loss", "min")
        self.centre = nn.Parameter(torch.zeros(3))


class Growing(OfPixels):
    def parts(self, model):
        return {"decoder": nn.Linear(2, 2)}


def test_a_loss_that_outputs_do_not_tell_has_no_score_where_the_objective_says_so_and_else_a_line_tells():
    answers = Answers(torch.randn(5, 1), torch.zeros(5, dtype=torch.int64))
    assert torch.tensor(score_of(OfPixelsAndSaysSo(1, "val/loss", "min"), answers)).isnan()
    with pytest.raises(ValueError, match=r"^OfPixels\.evaluate asks .* loss_from_outputs = False") as said:
        score_of(OfPixels(1, "val/loss", "min"), answers)
    assert "\n" not in str(said.value)


def test_kept_outputs_are_judged_as_the_model_itself_was():
    objective, model = Classification(3, 0.1, "val/accuracy", "max"), nn.Linear(4, 3)
    batch = Batch(torch.randn(20, 4), torch.randint(0, 3, (20,)), 0)
    first, second = objective.all_metrics(""), objective.all_metrics("")
    objective.judge_kept(objective.judge(model, batch, first), batch.labels, second)
    assert {name: float(value) for name, value in first.compute().items()} == {
        name: float(value) for name, value in second.compute().items()
    }


def test_parameters_of_the_objective_itself_are_refused_because_no_optimizer_would_see_them():
    with pytest.raises(ValueError, match="centre of WithCentre would never learn"):
        WithCentre().join(nn.Linear(2, 2))


def test_parts_are_added_once_and_no_export_has_them():
    model, objective = nn.Linear(2, 2), Growing(2, "val/loss", "min")
    objective.join(model)
    decoder = model.of_objective["decoder"]
    objective.join(model)
    assert model.of_objective["decoder"] is decoder
    exported = Classification(2, 0.0, "val/accuracy", "max").exported(model)
    assert set(exported.state_dict()) == {"weight", "bias"}


def test_mixing_is_refused_where_the_loss_takes_no_shares_of_labels(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"augment\.cutmix=0\.5 mixes labels .* the loss of OfPixels does"):
        OfPixels(1, "val/loss", "min").require_mixing("augment.cutmix=0.5")
    monkeypatch.setattr(Classification, "takes_mixed_labels", False)
    with pytest.raises(ValueError, match=r"^augment\.mixup=0\.3 mixes labels"):
        plain_config(("augment.mixup=0.3",), tmp_path)
