"""Beginnings of many images are a fair choice over the classes."""

import pytest
import pytorch_lightning as pl
import torch

from vitlab.data.fair_order import by_shares, class_balanced, evaluation_order


@pytest.mark.parametrize("count", [3, 8, 10, 25, 64])
def test_any_beginning_of_the_chosen_images_has_classes_in_equal_number(count):
    labels = torch.arange(10).repeat_interleave(torch.arange(7, 17))
    chosen = class_balanced(labels, 64, torch.Generator().manual_seed(1))[:count]
    numbers = labels[chosen].bincount(minlength=10)
    assert numbers.max() - numbers.min() <= 1
    assert len(chosen.unique()) == count


def test_a_small_class_gives_what_it_has_and_the_others_fill_up():
    labels = torch.tensor([0] * 30 + [1] * 2)
    chosen = class_balanced(labels, 20, torch.Generator().manual_seed(1))
    assert labels[chosen].bincount().tolist() == [18, 2]
    assert len(class_balanced(labels, 100, torch.Generator())) == 32


@pytest.mark.parametrize("count", [3, 10, 40, 99])
def test_any_beginning_has_each_class_and_otherwise_all_by_their_shares(count):
    sizes = torch.tensor([90, 9, 1])
    order = by_shares(torch.arange(3).repeat_interleave(sizes), torch.Generator().manual_seed(1))
    numbers = torch.arange(3).repeat_interleave(sizes)[order[:count]].bincount(minlength=3)
    assert numbers.min() >= 1
    assert (numbers - count * sizes / 100).abs().max() <= 2
    assert order.sort().values.tolist() == list(range(100))


def test_images_lie_as_they_lay_where_no_limit_leaves_any_out():
    labels = torch.arange(3).repeat_interleave(10)
    for limit in (1.0, 4, 8):
        assert evaluation_order(labels, limit, 8, torch.Generator()).tolist() == list(range(30))
    for limit in (0.9, 3, 1):
        assert evaluation_order(labels, limit, 8, torch.Generator()).tolist() != list(range(30))


def test_a_limited_validation_or_test_takes_the_same_images_each_time_and_of_every_class(
    tiny_training, tmp_path
):
    classifier, data = tiny_training
    seen = {"val": [], "test": []}

    class Watch(pl.Callback):
        def on_validation_batch_end(self, trainer, pl_module, outputs, batch, *place):
            seen["val"].append(batch)

        def on_test_batch_end(self, trainer, pl_module, outputs, batch, *place):
            seen["test"].append(batch)

    data.setup()
    for split in data.splits.values():  # class by class, as a folder's images lie
        order = split.labels.argsort(stable=True)
        split.indices, split.labels = split.indices[order], split.labels[order]
    limits = {"limit_val_batches": 1, "limit_test_batches": 0.2}
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    for _ in range(2):
        trainer = pl.Trainer(
            accelerator="cpu", callbacks=[Watch()], use_distributed_sampler=False, **limits, **quiet
        )
        trainer.validate(classifier, datamodule=data, verbose=False)
        trainer.test(classifier, datamodule=data, verbose=False)
    for batches in seen.values():
        first, again = batches
        assert torch.equal(first.images, again.images)
        numbers = first.labels.bincount(minlength=10)  # 64 images of ten classes that are about equal
        assert numbers.min() >= 5 and numbers.max() <= 8
