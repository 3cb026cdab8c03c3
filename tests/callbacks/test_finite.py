"""Nothing that a run could go on from has weights that are no numbers."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from vitlab import optim
from vitlab.callbacks.checkpoints import CheckpointFiles, ResumeCheckpoint
from vitlab.callbacks.finite import Diverged, StopWhenNotFinite
from vitlab.checkpoint.reading import FORMAT, read_checkpoint
from vitlab.classifier import ImageClassifier
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


class BadGradient(pl.Callback):
    """Makes one weight NaN by the fourth step."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 3:
            pl_module.model.head.weight.grad[0, 0] = torch.nan


def test_a_weight_that_is_nan_between_two_logging_steps_replaces_no_checkpoint(tmp_path):
    data = ImageData(Digits(), Augment(), 8, 1, 10, 64, 0, 0.1, 0.2, split_seed=0, seed=0, mean=[0.3], std=[0.38])
    flat = {"shape": "constant", "warmup_epochs": 0.0, "final_lr_ratio": 1.0, "frozen_epochs": 0, "unfrozen_lr_ratio": 1.0}
    classifier = ImageClassifier(
        VisionTransformer(LinearPatchEmbed(4, 1, 16), 8, 10, 16, 1, 2),
        optimizer=partial(optim.sgd, lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=False, layer_decay=1.0, frozen=[]),
        schedule=partial(optim.warmup_schedule, **flat),
        num_classes=10,
        label_smoothing=0.0,
        seed=0,
    )
    facts = {"in_channels": 1, "mean": [0.3], "std": [0.38], "image_size": [8, 8], "stored_size": [8, 8]}
    classifier.card = {"format": FORMAT, "config": {"model": {}}, "class_names": list("0123456789"), "preprocessing": facts}
    folder = tmp_path / "checkpoints"
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=10,
        callbacks=[ResumeCheckpoint(str(folder), every_steps=1), StopWhenNotFinite(), BadGradient()],
        plugins=[CheckpointFiles()],
        logger=False,
        log_every_n_steps=1000,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    with pytest.raises(Diverged, match="a weight is nan at step"):
        trainer.fit(classifier, datamodule=data)
    kept = [read_checkpoint(folder / name) for name in ("previous.ckpt", "last.ckpt")]
    assert [checkpoint["resume"]["step"] for checkpoint in kept] == [2, 3]
    assert all(value.isfinite().all() for checkpoint in kept for value in checkpoint["state_dict"].values())
