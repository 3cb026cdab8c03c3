"""The end of `vitlab train`: what is tested."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from vitlab.training import fit
from vitlab.training.assemble import Assembled
from vitlab.training.checkpoints import CheckpointFiles


def test_a_damaged_best_checkpoint_leaves_the_last_weights_to_be_tested_and_says_so(
    tiny_training, tmp_path, caplog
):
    classifier, data = tiny_training
    best = ModelCheckpoint(tmp_path, "best", monitor="val/accuracy", mode="max")
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[best],
        plugins=[CheckpointFiles()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(classifier, datamodule=data)
    with torch.no_grad():  # steps after the best validation
        classifier.model.head.bias += torch.linspace(-1, 1, 10)
    last = {name: value.clone() for name, value in classifier.state_dict().items()}
    (expected,) = trainer.test(classifier, datamodule=data, verbose=False)
    content = bytearray((tmp_path / "best.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "best.ckpt").write_bytes(content)
    metrics = fit.test_best(Assembled(classifier, data, trainer), data, tmp_path)
    assert metrics["test/loss"] == pytest.approx(expected["test/loss"])
    assert all(torch.equal(value, last[name]) for name, value in classifier.state_dict().items())
    assert (
        "best.ckpt cannot be read: it is damaged" in caplog.text
        and "the last weights are tested instead" in caplog.text
    )
