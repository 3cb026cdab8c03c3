"""The report's first sentence follows from its numbers, and names the reason."""

import pytest

from vitlab.gallery.conclusion import conclude
from vitlab.gallery.inspection import Trust
from vitlab.insight.honesty.faithfulness import Faithfulness


def trust(gain, error=0.01, like_untrained=0.1, agreement=0.9):
    proof = Faithfulness(0.5 - gain, 0.5 + gain, 0.5, 0.01, 0.05, gain, error, gain, error, agreement)
    return Trust(proof, like_untrained, specificity=0.8, between_classes=1.0, knows_class=False, cascade={})


@pytest.mark.parametrize(
    ("methods", "sentence"),
    [
        ({"rollout": trust(0.01)}, "Believe none of these maps here."),
        ({"relevance": trust(0.2), "random": trust(0.0)}, "Believe relevance here."),
        (
            {"rollout": trust(0.01), "relevance": trust(0.2), "grad_rollout": trust(0.3)},
            "Believe grad_rollout and relevance here; not rollout.",
        ),
        (
            {"rollout": trust(0.2, like_untrained=0.97), "relevance": trust(0.1)},
            "Believe relevance here; not rollout.",
        ),
        ({"random": trust(0.5)}, "Only the random baseline was measured, so there is nothing to believe."),
    ],
)
def test_what_beats_random_and_was_learnt_is_believed_the_best_first(methods, sentence):
    assert conclude(methods).sentence == sentence


def test_each_method_has_its_reason_in_numbers():
    methods = {"a": trust(0.2), "b": trust(0.01), "c": trust(-0.1), "d": trust(0.3, like_untrained=0.97)}
    good, alike, flat, worse = conclude(methods).reasons
    assert good.startswith("a: ") and "0.200 ± 0.010" in good and "0.300 against 0.500" in good
    assert alike.startswith("Not d: ") and "0.97" in alike
    assert flat.startswith("Not b: ") and "+0.010 ± 0.010" in flat
    assert worse.startswith("Not c: a random order finds") and "-0.100" in worse
    careful = conclude({"a": trust(0.2, agreement=0.31)}).reasons
    assert careful[0].startswith("Take all of this with care") and "31%" in careful[0]
