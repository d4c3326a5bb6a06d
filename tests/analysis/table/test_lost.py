"""What is said first of trials that gave no loss, where they are most of all."""

from __future__ import annotations

import pytest

from analysis.table.lost import TrialEnd, summary

GOOD, WILD = TrialEnd("complete", "", 1e-3), TrialEnd("diverged", "the held-out loss is not finite at step 7", 1e9)


def failed(reason: str) -> TrialEnd:
    return TrialEnd("failed", reason, 1e-3)


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ([WILD] * 8 + [WILD._replace(lr=3e-2)], "all 9 trials diverged, from LR 3e-2 on: lower the LRs"),
        (
            [failed(f"no shard {i:08x} of 12") for i in range(9)],
            "all 9 trials failed: no shard 00000000 of 12: mend that, then run them again",
        ),
        (
            [GOOD] * 2 + [failed("disk full")] * 6 + [failed("no network")],
            "7 of 9 trials failed, 6 of them of this cause: disk full: mend that, then run them again",
        ),
        (
            [WILD] * 2 + [failed("a"), failed("b"), failed("c")],
            "all 5 trials gave no loss: 2 diverged, from LR 1e9 on; 3 failed, one of them of this cause: a: mend that, "
            "then run them again",
        ),
        ([GOOD] * 5 + [WILD] * 4, None),
        ([GOOD] * 9, None),
        ([], None),
    ],
)
def test_most_trials_are_said_first_with_their_cause(ends: list[TrialEnd], says: str | None) -> None:
    assert summary(ends) == says


def test_a_long_reason_is_shortened() -> None:
    assert len(summary([failed("x" * 5000)]) or "") < 250
