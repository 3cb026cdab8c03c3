"""The tally against plain sums."""

import pytest
import torch
import torch.nn.functional as F

from vitlab.objectives.classification import is_correct
from vitlab.objectives.tally import Tally


@pytest.mark.parametrize("mixed", [False, True], ids=["labels", "mixed labels"])
def test_the_tally_is_the_mean_over_all_images_however_they_came(mixed):
    torch.manual_seed(0)
    tally, losses, hits, images = Tally({"accuracy": is_correct}), 0.0, 0, 0
    for step in range(37):
        size = 32 if step % 7 else 5
        logits, labels = torch.randn(size, 10), torch.randint(10, (size,))
        given = F.one_hot(labels, 10) * 0.6 + 0.04 if mixed else labels
        loss = F.cross_entropy(logits, given)
        tally.add(loss, logits, given)
        losses, hits, images = (
            losses + float(loss) * size,
            hits + int((logits.argmax(1) == labels).sum()),
            images + size,
        )
        if step == 20:
            assert abs(tally.loss - losses) < 1e-3  # looking at it loses nothing
    means = tally.read()
    assert abs(means["train/loss"] - losses / images) < 1e-5
    assert means["train/accuracy"] == hits / images


@pytest.mark.parametrize("counts", [{}, {"accuracy": is_correct}], ids=["a loss alone", "and a count"])
def test_a_tally_that_goes_on_from_a_checkpoint_reads_the_same_bits(counts):
    torch.manual_seed(0)
    steps = [(torch.rand(()), torch.randn(size, 10), torch.randint(10, (size,))) for size in [32] * 20 + [5]]
    straight, killed = Tally(counts), Tally(counts)
    for loss, logits, labels in steps[:11]:
        straight.add(loss, logits, labels)
        killed.add(loss, logits, labels)
    goes_on = Tally(counts)
    goes_on.load(killed.state(), torch.device("cpu"))
    for loss, logits, labels in steps[11:]:
        straight.add(loss, logits, labels)
        goes_on.add(loss, logits, labels)
    assert goes_on.read() == straight.read()
    assert set(straight.state()["counted"]) == set(counts)
