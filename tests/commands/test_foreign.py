"""The allow-list of other libraries' names: what it holds is a class and stands where it belongs, and what it
lacks is told why."""

from importlib import import_module

import pytest

from vitlab.construct import build, resolve_target
from vitlab.foreign import FOREIGN, GUARDED, REFUSED
from vitlab.training.learning import optimizer_and_schedule

PLAIN = {
    "_target_": "vitlab.objectives.classification.Classification",
    "num_outputs": 3,
    "label_smoothing": 0.0,
}
PLAIN |= {"monitor": "val/loss", "mode": "min"}


def test_every_allowed_name_is_a_class_where_it_belongs_and_every_refused_one_is_documented():
    for name, place in FOREIGN.items():
        assert isinstance(resolve_target(name, place, place), type), name
    for name, why in REFUSED.items():
        module, _, attribute = name.rpartition(".")
        assert (
            attribute in import_module(module).__all__
            if hasattr(import_module(module), "__all__")
            else dir(import_module(module))
        )
        with pytest.raises(ValueError, match="is not allowed: it ") as refusal:
            resolve_target(name, "part", "callbacks")
        assert why in str(refusal.value)


@pytest.mark.parametrize("name", [name for name, place in FOREIGN.items() if place in GUARDED])
def test_what_acts_on_files_or_servers_is_built_in_its_own_part_and_nowhere_in_a_strangers_checkpoint(name):
    for node in ({"_target_": name}, PLAIN | {"monitor": {"_target_": name}}):
        with pytest.raises(ValueError, match=f"{name} is not allowed here; it belongs under {FOREIGN[name]}"):
            build(node)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lightning.pytorch.callbacks.EarlyStopping", "pytorch_lightning.callbacks.EarlyStopping would work"),
        ("pytorch_lightning.callbacks.LambdaCallback", "takes functions, which no config holds"),
        ("strangers.SmallCNN", "VITLAB_TARGETS=strangers would allow it, if you trust that package"),
        ("os.system", "write what calls it yourself"),
        ("torch.load", "write what calls it yourself"),
        ("torch.optim.sgd.SGD", "is not allowed"),
    ],
)
def test_a_name_that_is_no_target_is_told_what_would_work(name, says):
    with pytest.raises(ValueError, match="is not allowed") as refusal:
        resolve_target(name, "callbacks.mine", "callbacks")
    assert says in str(refusal.value)


def test_a_loss_is_no_optimizer():
    node = {"_target_": "torch.nn.CrossEntropyLoss", "_partial_": True}
    with pytest.raises(ValueError, match="it belongs under objective"):
        optimizer_and_schedule({"optimizer": node, "schedule": node})


@pytest.mark.parametrize("mixed", [False, True], ids=["labels", "shares of classes"])
def test_a_criterion_is_trained_by_and_says_in_a_line_which_labels_it_does_not_take(mixed):
    import timm.loss
    import torch
    from torch import nn

    from vitlab.data.source import Batch

    images, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    batch = Batch(images, torch.eye(3)[labels] if mixed else labels, 0)
    objective = build(PLAIN | {"criterion": {"_target_": "timm.loss.BinaryCrossEntropy", "smoothing": 0.2}})
    assert objective.loss(nn.Identity(), batch).loss == timm.loss.BinaryCrossEntropy(smoothing=0.2)(
        images, batch.labels
    )
    wrong = "LabelSmoothingCrossEntropy" if mixed else "SoftTargetCrossEntropy"
    with pytest.raises(ValueError, match=f"objective.criterion: {wrong} does not take labels that are"):
        build(PLAIN | {"criterion": {"_target_": f"timm.loss.{wrong}"}}).loss(nn.Identity(), batch)


def test_without_timm_a_line_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "timm.optim", raising=False)
    node = {
        "_target_": "vitlab.models.by_name.timm_model",
        "name": "resnet18",
        "num_classes": 2,
        "in_channels": 3,
        "image_size": 32,
    }
    with pytest.raises(ValueError, match=r"model=timm needs timm: pip install 'vitlab\[timm\]'"):
        build(node)
    with pytest.raises(ValueError, match=r"timm.optim.Lamb needs timm: pip install 'vitlab\[timm\]'"):
        resolve_target("timm.optim.Lamb", "optimizer", "optimizer")
