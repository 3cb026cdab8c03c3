"""Scores of unlikeness: energy as published, distance to the nearest known, and what tells two sets apart."""

import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from vitlab.evaluation.unlike import NEIGHBOURS, Neighbours, share_below, told_apart
from vitlab.objectives.energies import energy


def test_the_distance_is_scikit_learns_to_the_tenth_neighbour():
    known, others = torch.randn(50, 8), torch.randn(7, 8)
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(known.numpy())
    expected = theirs.kneighbors(others.numpy())[0][:, -1]
    assert Neighbours(known).distance(others).numpy() == pytest.approx(expected, abs=1e-5)


def test_energy_is_lower_where_scores_are_higher_and_a_share_counts_what_lies_below():
    assert energy(torch.tensor([[0.0, 0.0]])).item() == pytest.approx(-0.693147, abs=1e-5)
    assert energy(torch.tensor([[9.0, 0.0]])) < energy(torch.tensor([[1.0, 0.0]]))
    assert share_below(2.5, torch.tensor([1.0, 2.0, 3.0, 4.0])) == 0.5


def test_what_tells_two_sets_apart_is_scikit_learns_auroc_within_its_interval():
    known, others = torch.randn(200), torch.randn(80) + 1
    value, likely = told_apart(known, others, 0.95, seed=0)
    expected = roc_auc_score([0] * 200 + [1] * 80, torch.cat([known, others]))
    assert value == pytest.approx(expected) and likely.low < value < likely.high
