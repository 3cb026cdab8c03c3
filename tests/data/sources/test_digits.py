"""The digits in the package are scikit-learn's."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from vitlab.data.sources.digits import Digits


def test_the_digits_are_those_of_scikit_learn_in_the_same_order() -> None:
    ours, (pixels, digits) = Digits().load()["all"], load_digits(return_X_y=True)
    assert (ours.images.flatten(1).numpy() == np.floor(pixels * 255 / 16 + 0.5)).all()
    assert [Digits().class_names[label] for label in ours.labels] == [str(digit) for digit in digits]


def test_all_17_shades_stay_apart_and_span_the_range() -> None:
    shades = Digits().load()["all"].images.unique()
    assert (
        len(shades) == 17
        and shades.min() == 0
        and shades.max() == 255
        and torch.diff(shades.int()).min() >= 15
    )


def test_the_fingerprint_names_this_content() -> None:
    source = Digits()
    before = source.fingerprint(source.load())
    source.load()["all"].images.zero_()  # what a caller does to its copy does not reach the source
    assert source.fingerprint(source.load()) == before == "c4979d4e574756576f3df07beceb0f7d"
