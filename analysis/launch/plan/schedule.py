"""The LR schedule that each trainer can take, and the steps whose LR is read back."""

from __future__ import annotations

from dataclasses import replace

from sweep.study import numbers
from sweep.study.sections.recipe.lr_schedule import LrSchedule

TRANSFORMERS = ("llamafactory", "axolotl", "trl")  # the formats whose trainer has only the schedules of transformers
ALL = 4096  # of a launch with fewer steps, every one is read back
AROUND = 50  # of a longer one, so many beside each border of two parts


def as_cosine(wanted: LrSchedule) -> bool:
    """Whether transformers' `cosine_warmup_with_min_lr` gives these LRs: it has one step at the peak, or no decay."""
    return wanted.warmup > 0 and (len(wanted.peak) == 1 or wanted.min_lr == 1)


def taken(wanted: LrSchedule, name: str) -> LrSchedule:
    """The schedule of a format's trainer. It is the wanted one, but for the warm-up of `warmup_stable_decay`.

    That begins at `min_lr`; one of a single step is left out, since axolotl makes two of it.
    """
    if name not in TRANSFORMERS or as_cosine(wanted) or wanted.warmup == 0:
        return wanted
    return replace(wanted, first=wanted.min_lr if wanted.warmup > 1 else 1.0)


def difference(wanted: LrSchedule, name: str, trainer: str) -> str | None:
    """How the LRs of a format's trainer differ from those of the trials' schedule; None where they do not."""
    found = taken(wanted, name)
    gap = found.begin - wanted.begin
    if not gap:
        return None
    begin, right, most = (numbers.percent(share, 2) for share in (found.begin, wanted.begin, abs(gap)))
    more, summed = "higher" if gap > 0 else "lower", numbers.quantity(abs(gap) * (wanted.warmup + 1) / 2)
    if wanted.warmup == 1:
        return f"{trainer}'s WSD has no warm-up of one step: its first step has the peak LR, the trials' {right} of it"
    still = "; its first step learns nothing" if not found.begin else ""
    return (
        f"{trainer}'s WSD warms up from {begin} of the peak LR, the trials' from {right}: in its {wanted.warmup:,} "
        f"steps of warm-up its LR is up to {most} of the peak {more}, {summed} steps at the peak in sum; all later "
        f"steps are equal{still}"
    )


def probe_steps(wanted: LrSchedule) -> list[int]:
    """The steps whose LR is compared: all, or those beside the borders of its parts and about two thousand between."""
    if wanted.steps <= ALL:
        return list(range(wanted.steps))
    borders = (0, wanted.warmup, wanted.peak[-1], wanted.steps - 1)
    beside = {border + offset for border in borders for offset in range(-AROUND, AROUND + 1)}
    return sorted((beside & set(range(wanted.steps))) | set(range(0, wanted.steps, wanted.steps // (ALL // 2))))
