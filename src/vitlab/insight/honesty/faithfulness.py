"""How far to trust a map: what the model says when the patches that it points at are left out.

Patches are dropped as tokens, behind the embedding with their positions: blackened pixels would be images of
a kind that the model never saw ("Missingness Bias in Model Debugging", Jain et al. 2022, arXiv:2204.08945).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vitlab.insight.attention.maps import chunk_size
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.views.anatomy import View
from vitlab.insight.views.view_of import view_for
from vitlab.randomness import generator_at
from vitlab.shapes import Features, Heatmap, Images, KeptPatches, Labels, Logits

NUM_RANDOM_ORDERS = 2
"""Each is read from both ends, so that every image has twice as many random curves."""

ROWS_AT_ONCE = 64
"""Images with patches left out that go through together, fewer where memory is bounded."""


Activation = Literal["softmax", "sigmoid"]
"""What makes probabilities of scores: of one class among all, or of each label by itself."""


def probabilities_of(logits: Logits | Features, activation: Activation) -> Tensor:
    """Returns the probability of each class or label."""
    return logits.float().sigmoid() if activation == "sigmoid" else logits.float().softmax(dim=1)


class Faithfulness(NamedTuple):
    """Areas from 0 to 1 under the target's probability: means over images, with standard errors over images
    (NaN for a single one).

    `deletion` drops the patches with the largest shares first (low is good), `insertion` adds them first
    (high is good), and `random` does either in a random order. `random_spread` is the standard deviation
    between random orders of one image. Gains count what is better than random as positive.
    `agreement_at_half` is the share of images that keep their class with half of the patches dropped at
    random: at 0.3 the model does not bear dropping, and the areas say little.
    """

    deletion: float
    insertion: float
    random: float
    random_se: float
    random_spread: float
    deletion_gain: float
    deletion_gain_se: float
    insertion_gain: float
    insertion_gain_se: float
    agreement_at_half: float

    @property
    def beats_random(self) -> bool:
        """Whether deletion beats random by over two standard errors; false for one image, which has none."""
        return self.deletion_gain > 2 * self.deletion_gain_se


def _random_orders(num_images: int, num_patches: int, seed: int, name: str) -> KeptPatches:
    return torch.rand(num_images, num_patches, generator=generator_at(seed, "faithfulness", name)).argsort(
        dim=1
    )


def _largest_first(heatmaps: Heatmap, seed: int) -> KeptPatches:
    """Returns each image's patches by falling share, equal ones at random and not row by row."""
    shares = heatmaps.flatten(1).cpu()
    shuffle = _random_orders(shares.shape[0], shares.shape[1], seed, "equal shares")
    return shuffle.gather(1, shares.gather(1, shuffle).argsort(dim=1, descending=True, stable=True))


def _counts(num_patches: int, num_steps: int) -> list[int]:
    """Returns the number of patches kept at each step, from all to one: of none there is no mean."""
    if not 1 <= num_steps <= num_patches:
        raise ValueError(
            f"num_steps={num_steps} does not fit {num_patches} patches; 1 to {num_patches} would work"
        )
    return [max(1, round(num_patches * (1 - step / num_steps))) for step in range(num_steps + 1)]


def _area(curves: Tensor) -> Tensor:
    """Returns the area under curves [..., steps, images] over a range of 1, by the trapezoidal rule."""
    return torch.trapezoid(curves, dim=-2) / (curves.shape[-2] - 1)


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(torch.nan)
    return values.mean().item(), error.item()


class _Dropping:
    """Images embedded once, to be classified with some of their patches."""

    def __init__(self, view: View, images: Images, target: Labels | None, activation: Activation):
        self.view = view
        self.activation: Activation = activation
        layout = view.layout(images)
        self.grid, self.num_patches = layout.grid, layout.grid[0] * layout.grid[1]
        self.rows_at_once = min(ROWS_AT_ONCE, chunk_size(view, layout))
        tokens = torch.cat([view.embed(chunk) for chunk in images.split(self.rows_at_once)])
        self.prefix, self.patches = tokens.split([layout.num_prefix_tokens, self.num_patches], dim=1)
        logits = torch.cat([view.classify(chunk, self.grid) for chunk in tokens.split(self.rows_at_once)])
        self.target = logits.argmax(dim=1) if target is None else target.to(logits.device)
        self.whole = probabilities_of(logits, activation).gather(1, self.target[:, None])[:, 0].cpu()

    def outcome(self, kept: KeptPatches) -> tuple[Tensor, Tensor]:
        """Returns the target's probability, and whether it is predicted, for the patches `kept`."""
        kept = kept.to(self.patches.device)
        which = torch.arange(len(kept), device=kept.device) % len(self.patches)
        probabilities, agrees = [], []
        for rows, indices in zip(which.split(self.rows_at_once), kept.split(self.rows_at_once), strict=True):
            tokens = torch.cat([self.prefix[rows], self.patches[rows[:, None], indices]], dim=1)
            logits = self.view.classify(tokens, self.grid, indices)
            of_target = probabilities_of(logits, self.activation).gather(1, self.target[rows, None])[:, 0]
            probabilities.append(of_target)
            is_said = logits.argmax(dim=1) == self.target[rows]
            agrees.append(of_target >= 0.5 if self.activation == "sigmoid" else is_said)
        return torch.cat(probabilities).cpu(), torch.cat(agrees).cpu()


def compare(
    model: nn.Module | View,
    images: Images,
    maps: Mapping[str, Heatmap],
    target: Labels | None = None,
    num_steps: int = 8,
    seed: int = 0,
    with_insertion: bool = True,
    activation: Activation = "softmax",
) -> dict[str, Faithfulness]:
    """Returns `faithfulness` of each method's map, all against the same random orders, which are computed
    once. A map costs half as much without insertion, whose numbers are NaN then."""
    view = view_for(model, images)
    if not view.has_head:
        raise ValueError(
            "faithfulness needs the probability of a class, and this model has no head; a classifier would"
            " work"
        )
    with looked_at(view.model), torch.no_grad():
        dropping = _Dropping(view, images.clone(), target, activation)
        for name, heatmaps in maps.items():
            if not torch.isfinite(heatmaps).all():
                raise ValueError(
                    f"the map {name} has numbers that are not finite; one without NaN would work"
                )
            if heatmaps.shape != (len(images), *dropping.grid):
                expected = [len(images), *dropping.grid]
                raise ValueError(
                    f"the map {name} is {list(heatmaps.shape)}; {expected} would work: images, rows and"
                    " columns of patches"
                )
        num_images, num_patches = len(images), dropping.num_patches
        orders = [
            _random_orders(num_images, num_patches, seed, f"random {index}")
            for index in range(NUM_RANDOM_ORDERS)
        ]
        orders += [_largest_first(heatmaps, seed) for heatmaps in maps.values()]
        # an order is read from both, or for deletion alone
        ends = [2] * NUM_RANDOM_ORDERS + [2 if with_insertion else 1] * len(maps)
        num_random = 2 * NUM_RANDOM_ORDERS
        counts = _counts(num_patches, num_steps)
        half = min(counts, key=lambda count: abs(count - num_patches / 2))
        agreement_at_half, steps = torch.ones(1), []
        for count in counts:
            if count == num_patches:
                steps.append(dropping.whole.expand(sum(ends), -1))
                continue
            kept = [
                end
                for order, read in zip(orders, ends, strict=True)
                for end in (order[:, -count:], order[:, :count])[:read]
            ]
            probabilities, agrees = dropping.outcome(torch.cat(kept))
            steps.append(probabilities.view(sum(ends), num_images))
            if count == half:
                agreement_at_half = agrees.view(sum(ends), num_images)[:num_random].float()
    areas = _area(torch.stack(steps, dim=1))  # [ends of orders, images]
    random = areas[:num_random].view(NUM_RANDOM_ORDERS, 2, num_images)
    at_random = random.mean(dim=(0, 1))
    # between orders, not between the two ends of one, which offset each other
    spread = random.var(dim=0).mean().sqrt().item()
    scores = {}
    for name, of_map in zip(maps, areas[num_random:].split(ends[-1]), strict=True):
        deletion, insertion = of_map if with_insertion else (of_map[0], torch.full_like(of_map[0], torch.nan))
        scores[name] = Faithfulness(
            deletion.mean().item(),
            insertion.mean().item(),
            *_mean_and_error(at_random),
            spread,
            *_mean_and_error(at_random - deletion),
            *_mean_and_error(insertion - at_random),
            agreement_at_half.mean().item(),
        )
    return scores


def faithfulness(
    model: nn.Module | View,
    images: Images,
    heatmaps: Heatmap,
    target: Labels | None = None,
    num_steps: int = 8,
    seed: int = 0,
) -> Faithfulness:
    """Returns how the target's probability (by default the predicted class) falls when patches are dropped in
    the order of a map. Deletion and insertion follow Petsiuk et al. 2018 (arXiv:1806.07421), in `num_steps`
    equal steps down to the last patch. Raises ValueError where the map does not belong to the images."""
    return compare(model, images, {"heatmaps": heatmaps}, target, num_steps, seed)["heatmaps"]
