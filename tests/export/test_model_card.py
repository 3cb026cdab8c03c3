"""What a checkpoint tells of itself is shown in its card, and cannot become a part of the card."""

from pathlib import Path

from vitlab.export.model_card import model_card

INJECTED = "cat\n```python\nprint('executed')\n```\n"


def test_names_from_a_strangers_checkpoint_cannot_put_a_program_into_the_card(make_model, make_card):
    card = make_card()
    card["class_names"] = [INJECTED, *card["class_names"][1:]]
    card["config"] |= {"name": INJECTED, "datamodule": {"source": {"_target_": INJECTED}}}
    page = model_card(make_model(), card, {}, Path("best.ckpt"), "timm", "timm", "print('mine')")
    assert [line for line in page.splitlines() if line.startswith("```")] == ["```python", "```"]
    assert page.partition("```python\n")[2].startswith("print('mine')")
