"""Many comparisons at once: p-values raised so that chance finds do not pass for results.

- Segments: Benjamini-Hochberg (1995) over all segments and variants of one metric: of the segments that are
  called different, at most the stated share are so by chance, on average.
- Variants: Bonferroni, in the level of their intervals (`analysis`), so that interval and verdict agree.
"""

from collections.abc import Sequence

import numpy as np
from statsmodels.stats.multitest import multipletests


def adjusted_for_discoveries(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg adjusted p-values; NaN (nothing to compare) stays and does not count."""
    given = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(given)
    adjusted = np.full(len(given), np.nan)
    if known.any():
        adjusted[known] = multipletests(given[known], method="fdr_bh")[1]
    return [float(value) for value in adjusted]
