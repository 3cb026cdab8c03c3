"""Several processes do not learn as one does where batch normalisation sees each one's images alone."""

import logging

import pytest
import pytorch_lightning as pl

from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.training.batch_norms import tell_of_batch_norms


def trainer(devices):
    return pl.Trainer(accelerator="cpu", devices=devices, logger=False, enable_progress_bar=False)


@pytest.fixture
def stem():
    return ConvStem(4, 1, 16)


@pytest.mark.parametrize("devices", [1, 2])
def test_statistics_of_each_process_alone_are_said_of_several_processes(stem, caplog, devices):
    with caplog.at_level(logging.WARNING):
        tell_of_batch_norms(trainer(devices), stem, False)
        tell_of_batch_norms(trainer(devices), LinearPatchEmbed(4, 1, 16), False)
    said = "stem.1 and 1 more: batch normalisation takes its statistics from the images of each process alone"
    assert [message.partition(",")[0] for message in caplog.messages] == [said] * (devices - 1)


def test_statistics_that_torch_cannot_share_are_refused(stem):
    with pytest.raises(ValueError, match=r"trainer.sync_batchnorm=true: statistics are shared on GPUs"):
        tell_of_batch_norms(trainer(2), stem, True)
