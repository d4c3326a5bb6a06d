"""`surfaces.json`: the fitted losses on the grid of the fit, from which the winner of any weights follows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from analysis.fit_file.fit_file import FitFile
from sweep.study import InputError, Schema
from sweep.study.files import reader
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles

if TYPE_CHECKING:
    from analysis.fit.fit import Fit
    from analysis.surfaces.kernels import Array

SCHEMA_VERSION = 1


class GridLoss(Schema):
    """One loss in nats per token on a grid of A ALMRs and L LRs: `mean` and standard deviation `sd`, A rows of L."""

    mean: list[list[float]]
    sd: list[list[float]]


class SurfaceGrid(Schema):
    """`almr` (A,), `lr` (L,), and each language's and source's loss there. An `almr` that no trial states is 0.5.

    `scores`: each benchmark score whose best ALMR and LR are known, in its own unit.
    """

    schema_version: int = SCHEMA_VERSION
    almr: list[float]
    lr: list[float]
    losses: dict[str, GridLoss]
    scores: dict[str, GridLoss] = Field(default_factory=dict)

    @classmethod
    def of(cls, fit: Fit) -> Self:
        """The losses of the objective and of every source that was measured."""
        with threadpool_limits(1):  # as the fit
            return cls._predicted(fit)

    @classmethod
    def _predicted(cls, fit: Fit) -> Self:
        lattice = fit.lattice.coarse
        every_almr, every_lr = (axis.ravel() for axis in np.meshgrid(lattice.almr, lattice.lr, indexing="ij"))
        others = {name: surface.predict(every_almr, every_lr) for name, surface in fit.source_surfaces.items()}
        shape = (len(lattice.almr), len(lattice.lr))
        losses = {name: _rows(mean.reshape(shape), sd.reshape(shape)) for name, (mean, sd) in others.items()}
        scored = {name: surface.on(every_almr, every_lr) for name, surface in fit.score_surfaces.items()}
        scores = {name: _rows(mean.reshape(shape), sd.reshape(shape)) for name, (mean, sd) in scored.items()}
        losses |= {name: _rows(lattice.mean[name], lattice.sd[name]) for name in lattice.mean}
        return cls(almr=lattice.almr.tolist(), lr=lattice.lr.tolist(), losses=losses, scores=scores)


def _rows(mean: Array, sd: Array) -> GridLoss:
    return GridLoss(mean=mean.tolist(), sd=sd.tolist())


def read_grid(run: Path, file: FitFile) -> SurfaceGrid | None:
    """The surfaces of a fit; None where an earlier version of almr-sweep fitted it, which kept none.

    Raises InputError where the file is gone, or is of another fit.
    """
    if file.surfaces is None:
        return None
    path = RunFiles(run).surfaces
    remedy = f"write it anew: almr fit {run}"
    if not path.is_file() or sha256(path) != file.surfaces:
        why = "is not what this fit wrote" if path.is_file() else "does not exist"
        raise InputError(f"{path}: {why}; {remedy}")
    return reader.read(path, SurfaceGrid, "grid of surfaces", SCHEMA_VERSION, remedy)
