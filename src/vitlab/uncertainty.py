"""How far a share that was counted on so many images may be from the truth."""

import math
from statistics import NormalDist


def likely_range(share: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the bounds, from 0 to 1, between which the truth lies in a share `level` of cases, of a share
    counted on `count` images, at least one. "Probable Inference" (Wilson 1927): it stays within 0 and 1, and
    tells something at 0 and 1 too. 0.9 of 100 images: 0.826 to 0.945."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)
