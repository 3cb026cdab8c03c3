"""What an inspection comes to, in sentences: which methods to believe on this model, and why."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vitlab.gallery.inspection import Trust

ALIKE = 0.9
"""Rank correlation with the untrained model's maps above which a map shows nothing that was learnt."""

BEARS_DROPPING = 0.5
"""Where fewer answers stay with half the patches gone, dropping breaks the model, and gains say little."""

BASELINE = "random"


class Conclusion(NamedTuple):
    """One sentence on what to believe, and a reason in numbers for each method."""

    sentence: str
    reasons: Sequence[str]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is_believed(trust: Trust) -> bool:
    return trust.faithfulness.beats_random and trust.like_untrained < ALIKE


def _reason(name: str, trust: Trust) -> str:
    proof = trust.faithfulness
    gain, error = proof.deletion_gain, proof.deletion_gain_se
    told = f"{gain:+.3f} ± {error:.3f}"
    if _is_believed(trust):
        return (
            f"{name}: without the patches that it marks, the predicted class loses {gain:.3f} ± {error:.3f}"
            f" more of its mean probability than without as many random ones ({proof.deletion:.3f} against"
            f" {proof.random:.3f})."
        )
    if proof.beats_random:
        alike = f"its maps are those of the untrained model (rank correlation {trust.like_untrained:.2f})"
        return f"Not {name}: its gain is {told}, but {alike}."
    if gain + 2 * error < 0:
        return f"Not {name}: a random order finds the patches that matter better (gain {told})."
    return f"Not {name}: its gain over a random order, {told}, is not above two standard errors."


def conclude(trust: Mapping[str, Trust]) -> Conclusion:
    """Returns the conclusion on all methods but the random baseline, the best gain first."""
    names = [name for name in trust if name != BASELINE]
    names.sort(key=lambda name: -trust[name].faithfulness.deletion_gain)
    believed = [name for name in names if _is_believed(trust[name])]
    others = [name for name in names if name not in believed]
    if not names:
        return Conclusion("Only the random baseline was measured, so there is nothing to believe.", [])
    sentence = f"Believe {_listed(believed)} here" if believed else "Believe none of these maps here"
    sentence += f"; not {_listed(others)}." if believed and others else "."
    reasons = [_reason(name, trust[name]) for name in [*believed, *others]]
    agreement = trust[names[0]].faithfulness.agreement_at_half
    if agreement < BEARS_DROPPING:
        care = "with half of the patches dropped at random the model keeps only"
        reasons = [f"Take all of this with care: {care} {agreement:.0%} of its answers.", *reasons]
    return Conclusion(sentence, reasons)
