"""The end of `vitlab train`: what is tested."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from vitlab import optim
from vitlab.callbacks.checkpoints import CheckpointFiles
from vitlab.checkpoint.reading import FORMAT
from vitlab.classifier import ImageClassifier
from vitlab.commands import fit
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def test_a_damaged_best_checkpoint_leaves_the_last_weights_to_be_tested_and_says_so(tmp_path, caplog):
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
    metrics = fit.test_best(trainer, classifier, data)
    assert metrics["test/loss"] == pytest.approx(expected["test/loss"])
    assert all(torch.equal(value, last[name]) for name, value in classifier.state_dict().items())
    assert "best.ckpt cannot be read: it is damaged" in caplog.text and "the last weights are tested instead" in caplog.text
