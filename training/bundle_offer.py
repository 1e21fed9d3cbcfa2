"""What a bundle's price does: the formulas that mining and serving share. Numbers or arrays alike.

A customer who takes the anchor of a bundle takes the rest too with the probability `attach`. A discount on
the whole is, to them, a discount on the rest.
"""

from typing import Any

import numpy as np

MOST_CUT = 0.5
"""The deepest cut of the rest's price that a response is claimed for; a deeper one counts as this."""


def attach_at(attach: Any, elasticity: Any, cut: Any) -> Any:
    """The attach rate when the rest is `cut` (a share of its price) cheaper; at most 1."""
    return np.minimum(1.0, attach * (1.0 - np.minimum(cut, MOST_CUT)) ** -elasticity)


def profit_at(attach: Any, price: Any, cost: Any, anchor_margin: Any) -> Any:
    """Profit per customer who takes the anchor: of the whole at its price, or of the anchor alone."""
    return attach * (price - cost) + (1.0 - attach) * anchor_margin
