"""Fixed position tables against their formulas, and interpolation against timm's."""

import math

import torch
from timm.layers import resample_abs_pos_embed

from vitlab.models.positions import resize_positions, sincos_2d, sinusoidal_1d


def test_sinusoidal_table_is_the_formula_of_vaswani_2017():
    table = sinusoidal_1d(num_tokens=5, embed_dim=8)[0]
    for position in range(5):
        for pair in range(4):
            angle = position / 10_000 ** (2 * pair / 8)
            assert math.isclose(table[position, 2 * pair].item(), math.sin(angle), abs_tol=1e-6)
            assert math.isclose(table[position, 2 * pair + 1].item(), math.cos(angle), abs_tol=1e-6)


def test_sincos_similarity_depends_on_distance_alone():
    rows, columns, dim = 4, 6, 32
    table = sincos_2d((rows, columns), dim)[0].reshape(rows, columns, dim)
    pairs = {}
    for row in range(rows - 1):
        for column in range(columns - 2):
            pairs.setdefault("step down", []).append(table[row, column] @ table[row + 1, column])
            pairs.setdefault("two right", []).append(table[row, column] @ table[row, column + 2])
    for similarities in pairs.values():
        torch.testing.assert_close(torch.stack(similarities), similarities[0].expand(len(similarities)))


def test_resizing_equals_timms_and_leaves_prefix_tokens_alone():
    torch.manual_seed(0)
    table = torch.randn(1, 2 + 4 * 6, 16)
    expected = resample_abs_pos_embed(table, new_size=[7, 5], old_size=[4, 6], num_prefix_tokens=2)
    resized = resize_positions(table, (4, 6), (7, 5), num_prefix_tokens=2)
    torch.testing.assert_close(resized, expected)
    assert torch.equal(resized[:, :2], table[:, :2])
