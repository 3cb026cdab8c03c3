"""The types and shapes in vitlab's signatures are checked in every call while the tests run."""

import jaxtyping
import pytest
import torch
from checked import checked

from vitlab.models.positions import sincos_2d
from vitlab.shapes import Heads, Scores


@checked
def scores(queries: Heads, keys: Heads) -> Scores:
    return queries @ keys.transpose(2, 3)


@checked
def wrong_scores(queries: Heads) -> Scores:
    return queries[:1] @ queries[:1].transpose(2, 3)


def heads(images=2, tokens=4):
    return torch.ones(images, 3, tokens, 5)


def test_a_word_is_no_grid():
    with pytest.raises(TypeError, match="violates type hint"):
        sincos_2d("large", 192)


def test_a_size_is_one_number_in_all_of_a_signature_and_free_in_the_next_call():
    assert scores(heads(), heads()).shape == (2, 3, 4, 4)
    assert scores(heads(1, 7), heads(1, 7)).shape == (1, 3, 7, 7)
    with pytest.raises(TypeError, match="violates type hint"):
        scores(heads(), heads(tokens=7))


def test_what_comes_out_has_the_sizes_of_what_went_in():
    with pytest.raises(TypeError, match="violates type hint"):
        wrong_scores(heads())


def test_checks_can_be_left_out_for_a_compiler(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert wrong_scores(heads()).shape == (1, 3, 4, 4)
