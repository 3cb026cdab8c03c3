"""Optimizers and schedules of torch's and timm's: our groups, the run's length, and states that a checkpoint
of plain data holds."""

from importlib import import_module

import pytest
import torch
from torch import nn

from vitlab.checkpoint.plain import read_plain
from vitlab.foreign import FOREIGN
from vitlab.optim.of_libraries import in_our_groups, told_the_steps

NEEDED = {
    "OneCycleLR": {"max_lr": 0.1},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3},
    "ExponentialLR": {"gamma": 0.9},
    "StepLR": {"step_size": 2},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
}


def class_named(name):
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))])
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.blocks[0](images).relu())


class Learning:
    """A model with its optimizer and schedule, which learns from a batch that follows from the number of the
    step."""

    def __init__(self, optimizer, schedule):
        self.model = Small()
        self.optimizer = optimizer(self.model.named_parameters())
        self.schedule = schedule(self.optimizer, total_steps=8, steps_per_epoch=4)

    def step(self, number):
        torch.manual_seed(number)
        self.optimizer.zero_grad()
        self.model(torch.randn(4, 3)).square().mean().backward()
        self.optimizer.step()
        self.schedule.step()

    def parts(self):
        return self.model, self.optimizer, self.schedule


def assert_goes_on_exactly(optimizer, schedule, file):
    """Four steps, a checkpoint as plain data, and four more in new objects are the same as eight."""
    whole, first, second = (Learning(optimizer, schedule) for _ in range(3))
    for number in range(8):
        whole.step(number)
    for number in range(4):
        first.step(number)
    torch.save([part.state_dict() for part in first.parts()], file)
    for part, state in zip(second.parts(), read_plain(file), strict=True):
        part.load_state_dict(state)
    for number in range(4, 8):
        second.step(number)
    rates = [[group["lr"] for group in each.optimizer.param_groups] for each in (whole, second)]
    assert rates[0] == rates[1]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert not torch.equal(whole.model.head.weight, Small().head.weight)


ADAM = in_our_groups(torch.optim.Adam, {"lr": 1e-2})
CONSTANT = told_the_steps(torch.optim.lr_scheduler.StepLR, {"step_size": 100})


@pytest.mark.filterwarnings("ignore:This overload of")  # timm's older optimizers, of their own add_
@pytest.mark.parametrize("name", [name for name, place in FOREIGN.items() if place == "optimizer"])
def test_an_optimizer_of_another_library_goes_on_exactly_from_plain_data(name, tmp_path):
    assert_goes_on_exactly(in_our_groups(class_named(name), {"lr": 1e-2}), CONSTANT, tmp_path / "state")


@pytest.mark.parametrize("name", [name for name, place in FOREIGN.items() if place == "schedule"])
def test_a_schedule_of_torchs_goes_on_exactly_from_plain_data(name, tmp_path):
    kind = class_named(name)
    assert_goes_on_exactly(ADAM, told_the_steps(kind, NEEDED.get(kind.__name__, {})), tmp_path / "state")


def test_another_librarys_optimizer_has_our_groups():
    model = Small()
    arguments = {"lr": 0.1, "weight_decay": 0.05, "layer_decay": 0.5, "frozen": ["blocks"], "momentum": 0.9}
    groups = in_our_groups(torch.optim.SGD, arguments)(model.named_parameters()).param_groups
    by_parameter = {id(parameter): group for group in groups for parameter in group["params"]}
    head, matrix, norm = (
        by_parameter[id(each)]
        for each in (model.head.weight, model.blocks[0][0].weight, model.blocks[0][1].weight)
    )
    assert (head["lr"], head["weight_decay"], head["frozen"], head["momentum"]) == (0.1, 0.05, False, 0.9)
    assert (matrix["lr"], matrix["weight_decay"], matrix["frozen"]) == (0.05, 0.05, True)
    assert norm["weight_decay"] == 0.0


def test_one_cycle_leaves_each_layer_its_share_of_the_peak_and_lasts_for_the_run():
    optimizer = in_our_groups(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "layer_decay": 0.5})(
        Small().named_parameters()
    )
    schedule = told_the_steps(torch.optim.lr_scheduler.OneCycleLR, {"max_lr": 0.4})(optimizer, 50, 10)
    assert schedule.total_steps == 50
    assert {group["max_lr"] / group["lr_scale"] for group in optimizer.param_groups} == {0.4}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "optimizer.lr=None: SGD takes a rate above 0 here"),
        ({"lr": 0.1, "nesterov": True}, "optimizer: SGD: Nesterov momentum requires a momentum"),
        ({"lr": 0.1, "layer_decay": 3.0}, "optimizer.layer_decay=3.0 must be above 0"),
    ],
    ids=["no rate", "values that only torch understands", "no share"],
)
def test_what_an_optimizer_does_not_take_is_said_in_a_line(arguments, says):
    with pytest.raises(ValueError, match=says):
        in_our_groups(torch.optim.SGD, arguments)(Small().named_parameters())


def test_a_schedule_that_holds_nothing_still_is_refused_for_frozen_parts():
    frozen = in_our_groups(torch.optim.SGD, {"lr": 0.1, "frozen": ["blocks"]})(Small().named_parameters())
    with pytest.raises(ValueError, match=r"optimizer\.frozen: StepLR holds nothing still"):
        told_the_steps(torch.optim.lr_scheduler.StepLR, {"step_size": 3})(frozen, 50, 10)
