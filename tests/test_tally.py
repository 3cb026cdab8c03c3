"""The tally against plain sums."""

import pytest
import torch
import torch.nn.functional as F

from vitlab.tally import TrainingTally


@pytest.mark.parametrize("mixed", [False, True], ids=["labels", "mixed labels"])
def test_the_tally_is_the_mean_over_all_images_however_they_came(mixed):
    torch.manual_seed(0)
    tally, losses, hits, images = TrainingTally(), 0.0, 0, 0
    for step in range(37):
        size = 32 if step % 7 else 5
        logits, labels = torch.randn(size, 10), torch.randint(10, (size,))
        given = F.one_hot(labels, 10) * 0.6 + 0.04 if mixed else labels
        loss = F.cross_entropy(logits, given)
        tally.add(loss, logits, given)
        losses, hits, images = losses + float(loss) * size, hits + int((logits.argmax(1) == labels).sum()), images + size
        if step == 20:
            assert abs(tally.loss - losses) < 1e-3  # looking at it loses nothing
    means = tally.read()
    assert abs(means["train/loss"] - losses / images) < 1e-5
    assert means["train/accuracy"] == hits / images
