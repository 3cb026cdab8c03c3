"""Who decays, who goes to Muon, and the learning rate as a function of the step."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from vitlab import optim
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

ADAMW = {"weight_decay": 0.1, "betas": (0.9, 0.999), "layer_decay": 1.0, "frozen": []}


def small_vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        LinearPatchEmbed(4, 1, 16), 8, 3, 16, 2, 2, reg_tokens=1, init_values=1e-4, qk_norm=True
    )


def test_matrices_decay_and_tables_norms_and_biases_do_not():
    model = small_vit()
    groups = optim.adamw(model.named_parameters(), lr=1e-3, **ADAMW).param_groups
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        expected = name.endswith(("proj.weight", "qkv.weight", "fc1.weight", "fc2.weight", "head.weight"))
        assert (id(parameter) in decayed) == expected, name


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        torch.manual_seed(step)
        loss = nn.functional.cross_entropy(model(torch.randn(4, 1, 8, 8)), torch.randint(3, (4,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def make_muon(model):
    return optim.muon(model.named_parameters(), lr=0.01, momentum=0.9, adamw_lr=1e-3, **ADAMW)


def test_muon_updates_block_matrices_as_torch_muon_and_the_rest_as_adamw():
    together, apart = small_vit(), small_vit()
    matrices = [p for n, p in apart.named_parameters() if n.startswith("blocks.") and p.ndim == 2]
    rest = [(n, p) for n, p in apart.named_parameters() if not (n.startswith("blocks.") and p.ndim == 2)]
    pair = [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
        optim.adamw(rest, lr=1e-3, **ADAMW),
    ]

    class Both:
        def zero_grad(self):
            [each.zero_grad() for each in pair]

        def step(self):
            [each.step() for each in pair]

    for own, reference in zip(train(together, make_muon(together), 3), train(apart, Both(), 3), strict=True):
        assert torch.equal(own, reference)


def hybrid():
    """A model whose stem has convolutions on pixels, on features (channels last in memory), and in the MLP
    depthwise ones."""
    torch.manual_seed(0)
    return VisionTransformer(ConvStem(4, 1, 16), 8, 3, 16, 2, 2, ffn="dwconv")


HIDDEN_FILTERS = ("patch_embed.stem.3.weight", "patch_embed.proj.weight")


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_muon_updates_filters_on_features_as_matrices_and_other_filters_as_adamw(memory_format):
    model = hybrid().to(memory_format=memory_format)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_muon(model)
    by_muon = {
        id(parameter)
        for group in optimizer.param_groups
        if "ns_steps" in group
        for parameter in group["params"]
    }
    filters = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim == 4}
    assert len(filters) == 5 and {
        name for name, parameter in filters.items() if id(parameter) in by_muon
    } == set(HIDDEN_FILTERS)
    train(model, optimizer, 1)
    order = (0, 2, 3, 1) if memory_format == torch.channels_last else (0, 1, 2, 3)
    for name in HIDDEN_FILTERS:
        gradient = filters[name].grad
        assert gradient is not None
        rows = nn.Parameter(before[name].permute(order).flatten(1))
        rows.grad = gradient.permute(order).flatten(1)
        torch.optim.Muon(
            [rows], lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"
        ).step()
        assert torch.equal(filters[name].detach().permute(order).flatten(1), rows.detach()), name


def test_muon_follows_filters_to_other_memory():
    stayed, moved = hybrid(), hybrid()
    expected = train(stayed, make_muon(stayed), 3)
    optimizer = make_muon(moved)
    train(moved, optimizer, 1)
    for parameter in moved.parameters():
        parameter.data = parameter.data.clone()
    for own, reference in zip(train(moved, optimizer, 2, start=1), expected, strict=True):
        assert torch.equal(own, reference)


def test_a_schedule_reaches_every_group_of_muon_and_survives_its_state_dict():
    model = hybrid()
    optimizer = make_muon(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for own, reference in zip(train(model, optimizer, 1), before, strict=True):
        assert torch.equal(own, reference)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = 0.5
    again = make_muon(model)
    again.load_state_dict(optimizer.state_dict())
    assert {(group["lr"], group["initial_lr"]) for group in again.param_groups} == {(0.5, 0.5)}
    assert optimizer.state.keys() == set(model.parameters())


@pytest.mark.parametrize("make", [small_vit, hybrid])
def test_muon_resumes_from_its_state_dict_bit_for_bit(make):
    whole = make()
    expected = train(whole, make_muon(whole), 6)
    first = make()
    optimizer = make_muon(first)
    train(first, optimizer, 3)
    second = make()
    second.load_state_dict(first.state_dict())
    resumed = make_muon(second)
    resumed.load_state_dict(optimizer.state_dict())
    for own, reference in zip(train(second, resumed, 3, start=3), expected, strict=True):
        assert torch.equal(own, reference)


def rates(shape, total=100, warmup=1.0, final=0.1, ratio=0.0):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    fixed = {"frozen_epochs": 0, "unfrozen_lr_ratio": 1.0}
    schedule = optim.warmup_schedule(
        optimizer,
        total,
        10,
        shape=shape,
        warmup_ratio=ratio,
        warmup_epochs=warmup,
        final_lr_ratio=final,
        **fixed,
    )
    values = []
    for _ in range(total):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_warm_up_rises_linearly_to_the_peak(shape):
    values = rates(shape)
    steps = [later - earlier for earlier, later in pairwise(values[:11])]
    assert all(math.isclose(step, 2.0 / 11) for step in steps)
    assert math.isclose(values[10], 2.0) and max(values) <= 2.0 + 1e-12


def test_cosine_equals_torchs_after_the_warm_up():
    own = rates("cosine", warmup=0.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.2)
    for value in own:
        assert math.isclose(value, optimizer.param_groups[0]["lr"], rel_tol=1e-9)
        optimizer.step()
        theirs.step()


def test_constant_stays_and_linear_falls_in_equal_steps():
    assert set(rates("constant", warmup=0.0)) == {2.0}
    falls = {round(earlier - later, 9) for earlier, later in pairwise(rates("linear", warmup=0.0))}
    assert falls == {0.018}


@pytest.mark.parametrize("total", [1, 3, 100])
def test_a_warm_up_that_is_a_share_of_the_run_fits_in_any_run(total):
    shared = rates("cosine", total, warmup=None, ratio=0.2)
    assert shared == rates("cosine", total, warmup=round(0.2 * total) / 10)
    assert rates("cosine", total, warmup=None, ratio=0.999)[0] <= 2.0


def test_an_absolute_warm_up_takes_the_place_of_the_share():
    assert rates("linear", warmup=3.0, ratio=0.5) == rates("linear", warmup=3.0)
    with pytest.raises(ValueError, match=r"schedule\.warmup_ratio=1\.0 must lie from 0 to below 1"):
        rates("linear", warmup=None, ratio=1.0)


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(
        ValueError, match=r"schedule.warmup_epochs=20 \(200 steps\) does not fit in a run of 100 steps"
    ):
        rates("cosine", warmup=20)


def test_a_negative_learning_rate_is_refused():
    with pytest.raises(ValueError, match=r"optimizer.lr=-0.1 must be above 0"):
        optim.adamw(small_vit().named_parameters(), lr=-0.1, **ADAMW)
