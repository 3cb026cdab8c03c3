"""The Text tab gives each accuracy with its uncertainty, and names are text in it."""

from pathlib import Path

from vitlab.dashboard.texts import ATTENTION, about_result, about_run, where_to_look
from vitlab.insight.attention.stats import COLLAPSED_ENTROPY, EXPLODED_LOGIT
from vitlab.objectives.classification import Classification

INJECTED = "cat | <b>dog</b>\n# no heading"


def test_a_result_has_its_uncertainty_from_the_images_it_was_measured_on():
    text = about_result(
        {"best/val/accuracy": 0.9, "val/loss": 0.5, "test/accuracy": 0.9, "test/loss": 0.4},
        100,
        1000,
        ["accuracy"],
    )
    lines = text.splitlines()
    assert lines[4] == "| test | accuracy | 90.00% (95 %: 88.0 to 91.7, from 1,000 images) |"
    assert (
        "| best checkpoint, validation | accuracy | 90.00% (95 %: 82.6 to 94.5, from 100 images) |" in lines
    )
    assert "| last weights, validation | loss | 0.5000 |" in lines


def test_the_worst_classes_come_first_and_thousands_are_cut():
    text = about_result(
        {f"test/accuracy_of/c{number}": number / 1000 for number in range(1000)}, None, 1000, ["accuracy"]
    )
    assert "### Test accuracy of each class, the worst 30 of 1000" in text
    assert text.index("| c0 | 0.0% |") < text.index("| c29 | 2.9% |") and "| c30 |" not in text


def test_what_is_no_share_of_the_images_is_told_of_each_class_as_a_number():
    text = about_result(
        {"test/recall_of/cat": 0.5, "test/error_of/dog": 2.5, "test/error_of/cat": 0.25}, None, 9, ["recall"]
    )
    assert "### Test recall of each class" in text and "| cat | 50.0% |" in text
    assert "### Test error of each class\n\n| class | error |" in text
    assert text.index("| cat | 0.2500 |") < text.index("| dog | 2.5000 |")


def test_where_to_look_follows_the_objective():
    classes = where_to_look(Classification(3, 0.0, "val/loss", "min").facts())
    assert "loss and accuracy, training" in classes and "begins with the test's mistakes;" in classes
    other = where_to_look({"headline": ["mae"], "monitor": "val/mae", "pictures": []})
    assert "loss and mae, training" in other and "Images" not in other and "accuracy" not in other


def test_names_are_text_in_a_table():
    record = {
        "config": {"name": INJECTED, "seed": 0, "trainer": {"max_epochs": 1}},
        "started": "now",
        "overrides": [f"name='{INJECTED}'"],
    }
    record["objective"] = Classification(3, 0.0, "val/loss", "min").facts()
    record["data"] = {"splits": {"train": {"images": 3}}}
    text = about_run(record, "Net", 5, [INJECTED], Path("/run"))
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## `cat \\| <b>dog</b>\\n# no heading`"
    ]
    (row,) = [line for line in text.splitlines() if line.startswith("| classes")]
    assert row.replace("\\|", "").count("|") == 3


def test_what_is_said_of_thresholds_is_what_the_alarms_use():
    text = ATTENTION.read_text()
    assert f"below {COLLAPSED_ENTROPY}" in text and f"Beyond {EXPLODED_LOGIT:.0f}" in text
