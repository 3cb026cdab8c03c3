"""What a checkpoint tells of itself is shown in its card, and cannot become a part of the card."""

from dataclasses import replace
from pathlib import Path

from vitlab.export.model_card import model_card

INJECTED = "cat\n```python\nprint('executed')\n```\n"


def test_names_from_a_strangers_checkpoint_cannot_put_a_program_into_the_card(make_model, make_card):
    card = make_card()
    card = replace(card, class_names=[INJECTED, *card.class_names[1:]])
    card.config.update(name=INJECTED, datamodule={"source": {"_target_": INJECTED}})
    page = model_card(make_model(), card, {}, Path("best.ckpt"), "timm", "timm", "print('mine')")
    assert [line for line in page.splitlines() if line.startswith("```")] == ["```python", "```"]
    assert page.partition("```python\n")[2].startswith("print('mine')")


def test_results_come_with_their_uncertainty_and_the_classes_that_were_recognised_least(
    make_model, make_card
):
    metrics = {"best/val/accuracy": 0.9, "test/accuracy": 0.9, "test/loss": 0.5}
    metrics |= {
        f"test/accuracy_of/{name}": value for name, value in (("ash", 1.0), ("birch", 0.5), ("cedar", 0.9))
    }
    record = {
        "metrics": metrics,
        "num_validated": 100,
        "num_tested": 1000,
        "objective": {"shares": ["accuracy"]},
    }
    page = model_card(make_model(), make_card(), record, Path("best.ckpt"), "timm", "timm", "")
    assert "| val | accuracy | 90.00% | 82.6% to 94.5% | 100 |" in page
    assert "| test | accuracy | 90.00% | 88.0% to 91.7% | 1,000 |" in page
    assert "| test | loss | 0.5000 |  | 1,000 |" in page
    assert "Recognised least in the test: birch 50.0%, cedar 90.0%, ash 100.0%" in page
    uncounted = record | {"num_validated": None, "num_tested": None}
    old = model_card(make_model(), make_card(), uncounted, Path("best.ckpt"), "timm", "timm", "")
    assert "| test | accuracy | 90.00% |  |  |" in old  # of how many images is not known


def test_no_path_of_the_machine_is_told(make_model, make_card):
    card = make_card()
    card.config["model"] |= {"weights": "/home/me/vit.safetensors"}
    record = {
        "command": "/home/me/.venv/bin/vitlab train",
        "directory": "/home/me",
        "overrides": ["data.root=/home/me/photos", "seed=1"],
    }
    page = model_card(
        make_model(), card, record, Path("/home/me/run/checkpoints/best.ckpt"), "timm", "timm", ""
    )
    assert "/home" not in page and "    vitlab train data.root=PATH seed=1\n" in page
