"""What matters comes first in TensorBoard, whatever sorts the tags, and no two numbers share one."""

import re

import pytest

from vitlab.dashboard.tags import Tags, is_dot
from vitlab.objectives.classification import Classification

OF_CLASSES = Tags.of_objective(Classification(10, 0.0, "val/loss", "min").facts())

LOGGED = [
    "train/loss",
    "train/accuracy",
    "val/loss",
    "val/accuracy",
    "val/accuracy_top5",
    "val/f1",
    "train/f1",
]
LOGGED += [
    "train/lr",
    "train/gradient_norm",
    "train/images_per_second",
    "attention/max_logit",
]
LOGGED += [
    "attention/rollout_deletion_gain",
    "attention/rollout_deletion_gain_se",
    "attention/entropy_last_layer",
]
LOGGED += [
    "features/pca",
    "tokens/norm",
    "weights/patch_filters",
    "test/loss",
    "test/accuracy",
    "best/val/accuracy",
    "DeviceStatsMonitor.x",
]

SHOWN = ["test/confusion", "test/per_class", "test/mistakes", "attention/overview", "attention/evolution"]
SHOWN += ["attention/heads", "attention/cascade"]


def all_tags(tags=OF_CLASSES):
    return [*map(tags.of_number, LOGGED), *map(tags.of_picture, SHOWN)]


def as_a_reader_counts(tag):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", tag)]


def sections(tags):
    shown = sorted((tag for tag in tags if "DeviceStats" not in tag), key=as_a_reader_counts)
    return list(dict.fromkeys(tag.partition("/")[0] for tag in shown))


def test_charts_come_in_the_order_accuracy_loss_pictures_training_attention_result():
    assert sections(all_tags()) == [
        "1_accuracy",
        "2_loss",
        "3_other_metrics",
        "4_pictures",
        "5_training",
        "6_attention",
        "7_inside_the_model",
        "10_result",
    ]


def test_a_tests_pictures_come_in_the_order_of_the_objective_and_before_those_of_attention():
    shown = sorted(tag for tag in map(OF_CLASSES.of_picture, SHOWN) if tag.startswith("4_"))
    assert [tag.partition("/")[2] for tag in shown] == [
        "1_mistakes",
        "2_confusion",
        "3_per_class",
        "8_where_it_looks",
        "9_where_it_looked_over_time",
    ]
    assert OF_CLASSES.of_picture("test/of_ones_own") == "4_pictures/of_ones_own"


@pytest.mark.parametrize(
    ("headline", "monitor", "names", "expected"),
    [
        (["mae"], "val/mae", ["val/mae", "train/loss"], ["1_mae", "2_loss"]),
        (
            ["f1", "auc"],
            "val/loss",
            ["val/f1_micro", "val/auc", "val/loss"],
            ["1_f1", "2_loss", "3_other_metrics"],
        ),
        ([], "val/psnr", ["val/psnr", "val/loss"], ["1_psnr", "2_loss"]),
        ([], "val/loss", ["val/loss", "val/mae"], ["1_loss", "3_other_metrics"]),
    ],
)
def test_the_first_section_is_what_an_objective_names_first_or_else_what_it_monitors(
    headline, monitor, names, expected
):
    tags = Tags.of_objective({"headline": headline, "monitor": monitor, "pictures": []})
    assert sections(map(tags.of_number, names)) == expected
    first = next(iter(tags.layout(has_attention=False).values()))
    patterns = [pattern for _, chart in first.values() for pattern in chart]
    for section in expected[:2]:
        assert (f"{section}/val$" in patterns) is not section.startswith("3_")


def test_the_hparams_tab_which_sorts_by_character_begins_with_the_result():
    tags = sorted(all_tags())
    assert tags[:3] == ["10_result/best_val_accuracy", "10_result/test_accuracy", "10_result/test_loss"]


def test_no_two_names_share_a_tag_and_what_is_not_known_keeps_its_name():
    assert len({*all_tags()}) == len({*LOGGED}) + len(SHOWN)
    assert OF_CLASSES.of_number("DeviceStatsMonitor.x") == "DeviceStatsMonitor.x"


@pytest.mark.parametrize("name", ["test/accuracy_of/cat", "test/recall_of/a/b", "cascade/rollout_head"])
def test_what_is_measured_once_for_each_class_and_stage_is_no_chart(name):
    assert is_dot(name) and not any(map(is_dot, LOGGED))


@pytest.mark.parametrize("has_attention", [True, False])
def test_every_chart_of_the_layout_matches_what_is_logged_and_no_standard_error(has_attention):
    for charts in OF_CLASSES.layout(has_attention).values():
        for title, (kind, patterns) in charts.items():
            found = [tag for pattern in patterns for tag in all_tags() if re.match(pattern, tag)]
            assert kind == "Multiline" and len(found) >= len(patterns), title
            assert not [tag for tag in found if tag.endswith("_se")]
