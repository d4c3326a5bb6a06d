"""The forms of ALMR in which a loss may be smooth, one of which cross-validation chooses.

In one published CPT sweep the original language's loss is close to linear in ln(1 - ALMR) and the additional
language's in ALMR; the D-CPT law (Que et al., arXiv 2406.01375) is a power of a mixture ratio with an offset, which
ln(ALMR) straightens at small ratios. The offset keeps ALMR 0 and 1 finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.surfaces.kernels import Array

OFFSET = 0.01
WIDEST_STEP = 0.6


@dataclass(frozen=True)
class Form:
    """`name` is the formula, for people and for `fit.json`; `of` maps ALMRs to coordinates and rises with ALMR."""

    name: str
    of: Callable[[Array], Array]

    def suits(self, almr: Array) -> bool:
        """Whether the measured ALMRs cover the form's range: no step between two of them takes most of it.

        Inside such a step nothing is known, and no trial that is left out can tell.
        """
        values = self.of(np.unique(almr))
        return bool(np.diff(values).max() <= WIDEST_STEP * np.ptp(values))


LINEAR = Form("ALMR", lambda almr: almr)
FORMS = (
    LINEAR,
    Form(f"-ln({1 + OFFSET} - ALMR)", lambda almr: -np.log(1 + OFFSET - almr)),
    Form(f"ln(ALMR + {OFFSET})", lambda almr: np.log(almr + OFFSET)),
)
