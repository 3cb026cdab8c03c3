"""What matters comes first in TensorBoard, whatever sorts the tags, and no two numbers share one."""

import re

import pytest

from vitlab.dashboard.tags import PICTURES, is_dot, layout, tag_of

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
    "attention/heads",
    "attention/cascade",
]
LOGGED += [
    "attention/rollout_deletion_gain",
    "attention/rollout_deletion_gain_se",
    "attention/entropy_last_layer",
    *PICTURES,
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


def as_a_reader_counts(tag):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", tag)]


def test_charts_come_in_the_order_accuracy_loss_pictures_training_attention_result():
    tags = sorted((tag_of(name) for name in LOGGED if name != "DeviceStatsMonitor.x"), key=as_a_reader_counts)
    sections = list(dict.fromkeys(tag.partition("/")[0] for tag in tags))
    assert sections == [
        "1_accuracy",
        "2_loss",
        "3_other_metrics",
        "4_pictures",
        "5_training",
        "6_attention",
        "7_inside_the_model",
        "10_result",
    ]


def test_the_hparams_tab_which_sorts_by_character_begins_with_the_result():
    tags = sorted(map(tag_of, LOGGED))
    assert tags[:3] == ["10_result/best_val_accuracy", "10_result/test_accuracy", "10_result/test_loss"]


def test_no_two_names_share_a_tag_and_what_is_not_known_keeps_its_name():
    assert len({*map(tag_of, LOGGED)}) == len({*LOGGED})
    assert tag_of("DeviceStatsMonitor.x") == "DeviceStatsMonitor.x"


@pytest.mark.parametrize("name", ["test/accuracy_of/cat", "cascade/rollout_head"])
def test_what_is_measured_once_for_each_class_and_stage_is_no_chart(name):
    assert is_dot(name) and not any(map(is_dot, LOGGED))


@pytest.mark.parametrize("has_attention", [True, False])
def test_every_chart_of_the_layout_matches_what_is_logged_and_no_standard_error(has_attention):
    for charts in layout(has_attention).values():
        for title, (kind, patterns) in charts.items():
            found = [tag for pattern in patterns for tag in map(tag_of, LOGGED) if re.match(pattern, tag)]
            assert kind == "Multiline" and len(found) >= len(patterns), title
            assert not [tag for tag in found if tag.endswith("_se")]
