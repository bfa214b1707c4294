"""What differs between two estimates that each have an interval, such as one concept in two generators."""

import numpy as np


def change(
    before: np.ndarray,
    before_low: np.ndarray,
    before_high: np.ndarray,
    after: np.ndarray,
    after_low: np.ndarray,
    after_high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change `after - before` of estimates of shape (n,), and the ends of its 95% interval.

    Square-and-add (Newcombe 1998; Zou and Donner 2008), which keeps lopsided intervals lopsided:
    `low = change - sqrt((after - after_low)^2 + (before_high - before)^2)`, and `high` with the other two
    ends. It takes the two for independent. Generators that share their real images are not, their estimates
    move together; then the interval is too wide rather than too narrow. An end is NaN where a part of it is.
    """
    parts = (before, before_low, before_high, after, after_low, after_high)
    a, a_low, a_high, b, b_low, b_high = (np.asarray(part, dtype=np.float64) for part in parts)
    moved = b - a
    return moved, moved - np.hypot(b - b_low, a_high - a), moved + np.hypot(b_high - b, a - a_low)
