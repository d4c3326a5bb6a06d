"""What the winner does to each source of the text: its held-out loss and bits per byte, against the base model's."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.decision.case import Case
from analysis.decision.findings import repetition
from analysis.decision.objectives import base_loss
from analysis.decision.winner import band
from analysis.fit_file.sources import SourceAtWinner, Verdict
from analysis.fit_file.winner import LossAtWinner
from analysis.surfaces.surface import Surface, fit_languages
from analysis.table import table as tables
from sweep.study import CorpusSource


def other_surfaces(case: Case, seed: int = 0) -> dict[str, Surface]:
    """The surface of each source whose loss the objective does not need, where enough trials measured it."""
    if case.study is None or not case.study.corpora.named:
        return {}
    names = [name for name in case.study.corpora.by_name if name not in case.surfaces]
    found = {name: _surface(case, name, seed) for name in names}
    return {name: surface for name, surface in found.items() if surface}


def at_winner(case: Case, others: Mapping[str, Surface]) -> tuple[SourceAtWinner, ...]:
    """Every source of a study that names sources, those of the original language first. `others`: their surfaces, as
    `other_surfaces`."""
    if case.study is None or not case.study.corpora.named:
        return ()
    epochs = {corpus.name: corpus.epochs(case.winner.almr) for corpus in repetition.of(case.table, case.study)}
    return tuple(
        _source(case, source, epochs, _loss(case, source.name, others))
        for source in case.study.corpora.by_name.values()
    )


def _source(case: Case, source: CorpusSource, epochs: dict[str, float], loss: LossAtWinner | None) -> SourceAtWinner:
    name = source.name
    base = base_loss(case.table, name)
    per_nat = _bits_per_byte(case, name)
    return SourceAtWinner(
        name=name,
        language=source.language,
        share=source.share,
        epochs=epochs.get(name),
        base=base,
        loss=loss,
        base_bits_per_byte=None if base is None or per_nat is None else base * per_nat,
        bits_per_byte=None if loss is None or per_nat is None else loss.mean * per_nat,
        verdict=None if loss is None or base is None else _verdict(loss, base),
    )


def _loss(case: Case, name: str, others: Mapping[str, Surface]) -> LossAtWinner | None:
    """From the surface of the fit, or, where the objective does not need this loss, from one of its own."""
    if name in case.winner.losses:
        return case.winner.losses[name]
    if name not in others:
        return None
    mean, sd = (float(one[0]) for one in others[name].predict([case.winner.almr], [case.winner.lr]))
    return LossAtWinner(mean=mean, interval=band(mean, sd, case.winner.level))


def _surface(case: Case, name: str, seed: int) -> Surface | None:
    column = f"loss_{name}"
    table = tables.with_losses(case.table, [name]) if column in case.table else case.table
    used = tables.usable(table)
    if column not in table or used[column].isna().any() or len(used) < tables.fewest(used["almr"], used["lr"]):
        return None
    return fit_languages(table, (name,), seed)[name]


def _bits_per_byte(case: Case, name: str) -> float | None:
    """Bits per byte of a loss of one nat per token: constant for a held-out text. None where not recorded."""
    used = tables.usable(case.table)
    loss, bits = used.get(f"loss_{name}"), used.get(f"bits_per_byte_{name}")
    if loss is None or bits is None:
        return None
    ratio = (bits.astype(float) / loss.astype(float)).dropna()
    return float(ratio.median()) if len(ratio) else None


def _verdict(loss: LossAtWinner, base: float) -> Verdict:
    if loss.interval.low <= base <= loss.interval.high:
        return "not distinguishable"
    return "better" if loss.mean < base else "worse"
