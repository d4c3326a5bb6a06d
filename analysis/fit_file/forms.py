"""Candidate transforms of ALMR for the input of a surface, which is averaged over them (analysis.surfaces.surface).

In one published CPT sweep the original language's loss is close to linear in ln(1 - ALMR) and the additional
language's in ALMR; the D-CPT law (Que et al., arXiv 2406.01375) is a power of a mixture ratio with an offset, which
ln(ALMR) straightens at small ratios. A sum of both, as one combined loss is, is nearest to a parabola in their
difference, the log odds of ALMR. The offset keeps ALMR 0 and 1 finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
OFFSET = 0.01
WIDEST_STEP = 0.5  # share of the tried range in the transformed ALMR


@dataclass(frozen=True)
class Form:
    """A transform of ALMR: `name`, its formula as in `fit.json`, and `of`, an increasing function."""

    name: str
    of: Callable[[Array], Array]

    def suits(self, almr: Array) -> bool:
        """Whether the measured ALMRs cover the transformed range: no gap between neighbours exceeds WIDEST_STEP of it.

        Inside a wider gap there is no trial to fit, and none to leave out.
        """
        values = self.of(np.unique(almr))
        return bool(np.diff(values).max() <= WIDEST_STEP * np.ptp(values))


LINEAR = Form("ALMR", lambda almr: almr)
FORMS = (
    LINEAR,
    Form(f"-ln({1 + OFFSET} - ALMR)", lambda almr: -np.log(1 + OFFSET - almr)),
    Form(f"ln(ALMR + {OFFSET})", lambda almr: np.log(almr + OFFSET)),
    Form(
        f"ln(ALMR + {OFFSET}) - ln({1 + OFFSET} - ALMR)",
        lambda almr: np.log(almr + OFFSET) - np.log(1 + OFFSET - almr),
    ),
)
