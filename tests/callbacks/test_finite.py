"""Nothing that a run could go on from has weights that are no numbers."""

import pytest
import pytorch_lightning as pl
import torch

from vitlab.callbacks.finite import Diverged, StopWhenNotFinite
from vitlab.checkpoint.reading import read_checkpoint
from vitlab.training.checkpoints import CheckpointFiles, ResumeCheckpoint


class BadGradient(pl.Callback):
    """Makes one weight NaN by the fourth step."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 3:
            pl_module.model.head.weight.grad[0, 0] = torch.nan


def test_a_weight_that_is_nan_between_two_logging_steps_replaces_no_checkpoint(tiny_training, tmp_path):
    classifier, data = tiny_training
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
