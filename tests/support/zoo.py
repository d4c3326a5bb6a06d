"""A zoo of loss surfaces with known optima: families of two languages' losses, with settings that are drawn at random.

Coordinates: a is ALMR, w is ln(LR / MIDDLE). A family gives both languages' losses in nats from its settings; their
plain mean is the objective. HELD_OUT are families that no method may be chosen with: they are for the last report.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from known_surfaces import MIDDLE
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]
Settings = Mapping[str, float]
Range = tuple[float, float]
Losses = Callable[[Settings, Array, Array], tuple[Array, Array]]  # of (settings, a, w): original, additional

ALMRS = (0.05, 0.95)
CELLS = ((5, 6), (9, 9), (13, 13))  # ALMRs and LRs of the space of a search
INSIDE = 0.12  # of each axis: nearer to an edge only the family of that name has its optimum
FINE = 121
RELATIVE = 0.06  # most noise of a trial, as a share of its loss over the lowest; tests/data/dense.csv has 5 to 15 %


@dataclass(frozen=True)
class Family:
    """`settings`: the range that each is drawn from. `noise`: sd in nats at the middle LR, drawn evenly in its log;
    `growth`: ln of the noise's ratio between the highest and the middle LR. Trials over `diverged` nats above the
    lowest loss diverge. `from_edge`: the nearest and the farthest distance of the optimum from the nearest edge, in
    shares of that axis' range.
    """

    losses: Losses
    settings: Mapping[str, Range]
    noise: Range = (0.0015, 0.008)
    growth: Range = (0.0, 0.3)
    half: Range = (1.7, 3.0)  # half of the range of ln LR
    diverged: float = 4.0
    from_edge: Range = (INSIDE, 0.5)

    def draw(self, name: str, number: int) -> Drawn:
        """A surface whose optimum is where `from_edge` says: the first that is, of those drawn in turn."""
        random = np.random.default_rng([zlib.crc32(name.encode()), number])
        while True:
            found = Drawn(
                family=self,
                settings={key: float(random.uniform(*span)) for key, span in self.settings.items()},
                half=float(random.uniform(*self.half)),
                noise=float(np.exp(random.uniform(*np.log(self.noise)))),
                growth=float(random.uniform(*self.growth)),
                relative=max(float(random.uniform(-RELATIVE, RELATIVE)), 0.0),
                cells=CELLS[int(random.integers(len(CELLS)))],
            )
            if self.from_edge[0] <= found.from_edge <= self.from_edge[1]:
                return found


@dataclass(frozen=True)
class Drawn:
    """One surface of a family, and how trials of it are measured: `noise` and `growth` as in Family; `relative` is the
    noise that comes with a high loss, as a share of the nats over the lowest. Half of all surfaces have none of it.
    """

    family: Family
    settings: Settings
    half: float
    noise: float
    growth: float
    relative: float
    cells: tuple[int, int]
    almrs: Range = field(default=ALMRS)

    @property
    def lrs(self) -> Range:
        return MIDDLE * float(np.exp(-self.half)), MIDDLE * float(np.exp(self.half))

    def losses(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        """Original and additional language, without noise."""
        return self.family.losses(self.settings, np.asarray(almr, float), np.log(np.asarray(lr, float) / MIDDLE))

    def mean(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        return np.asarray(sum(self.losses(almr, lr)) / 2)

    def sd(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Of one trial's noise, in each language."""
        at_lowest = self.noise * np.exp(self.growth * np.log(np.asarray(lr, float) / MIDDLE) / self.half)
        return np.hypot(at_lowest, self.relative * (self.mean(almr, lr) - self.lowest))

    @cached_property
    def best(self) -> tuple[float, float]:
        """(a, w) of the lowest objective in the range."""
        a, w = np.linspace(*self.almrs, FINE), np.linspace(-self.half, self.half, FINE)
        every = np.stack([axis.ravel() for axis in np.meshgrid(a, w, indexing="ij")])
        start = every[:, int(self.mean(every[0], MIDDLE * np.exp(every[1])).argmin())]
        bounds = [self.almrs, (-self.half, self.half)]
        found = minimize(self._at, start, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-6, "fatol": 1e-12})
        return float(found.x[0]), float(found.x[1])

    @property
    def almr(self) -> float:
        return self.best[0]

    @property
    def lr(self) -> float:
        return MIDDLE * float(np.exp(self.best[1]))

    @property
    def lowest(self) -> float:
        return float(self.mean(self.almr, self.lr))

    @property
    def from_edge(self) -> float:
        """Distance of the optimum from the nearest edge, in shares of that axis' range."""
        a, w = (self.almr - self.almrs[0]) / np.ptp(self.almrs), (self.best[1] + self.half) / (2 * self.half)
        return float(min(a, 1 - a, w, 1 - w))

    def _at(self, point: Array) -> float:
        return float(self.mean(point[0], MIDDLE * np.exp(point[1])))


def _pair(p: Settings, a: Array, common: Array) -> tuple[Array, Array]:
    """Losses whose mean is a parabola in ALMR plus `common`, each language's own best ALMR 0.3 apart."""
    floor = 3.5 - p["curvature"] * 0.09
    return tuple(floor + p["curvature"] * (a - p["a0"] + apart) ** 2 + common for apart in (0.3, -0.3))


def _parabolic(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    return _pair(p, a, p["steep"] * (w - p["w0"] - p["coupling"] * (a - p["a0"])) ** 2)


def _wall(d: Array, power: float) -> Array:
    """d squared near 0; LR to that power above, only as ln LR below."""
    return 2 * (np.exp(power * d) - 1 - power * d) / power**2


def _cliff(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    return _pair(p, a, p["steep"] * _wall(w - p["w0"] - p["coupling"] * (a - p["a0"]), p["power"]))


def _logs(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    """The literature's: each language's loss linear in ln of (about) its own share; ln LR* linear in ln ALMR."""
    valley = p["steep"] * (w - p["w0"] - p["coupling"] * np.log(2 * a)) ** 2
    return 2.2 - p["b"] * np.log(1.01 - a) + valley, 3.0 - p["k"] * np.log(a + 0.02) + valley


def _asymmetric(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    d, u = w - p["w0"] - p["coupling"] * (a - p["a0"]), a - p["a0"]
    valley = p["steep"] * (np.expm1(p["up"] * d) / p["up"] + np.expm1(-p["down"] * d) / p["down"])
    original, additional = _pair(p, a, valley)
    skew = p["curvature"] * p["skew"] * u**3
    return original + skew, additional + skew


def _forgetting(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    """The original loss rises exponentially with ALMR and ln LR, the additional one decays with both."""
    valley = p["steep"] * (w - p["w0"]) ** 2
    original = 2.5 + p["f"] * np.exp(p["g"] * a + p["h"] * w) + valley
    return original, 3.0 + p["k"] * np.exp(-p["m"] * a - p["n"] * w) + valley


def _turning(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    """The best LR rises with ALMR and falls again, or the other way."""
    return _pair(p, a, p["steep"] * (w - p["w0"] + p["turn"] * ((a - p["at"]) / 0.4) ** 2) ** 2)


def _powers(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    """A power law of each language's own share; a valley between parabola and V; ln LR* linear in the logit of ALMR."""
    d = (w - p["w0"] - p["coupling"] * np.log(a / (1 - a))) / p["wide"]
    valley = p["steep"] * np.logaddexp(d, -d) * (1 + p["lean"] * np.tanh(d))
    return 2.0 + p["e"] * (1.03 - a) ** -p["beta"] + valley, 2.5 + p["k"] * (a + 0.05) ** -p["gamma"] + valley


def _plateaus(p: Settings, a: Array, w: Array) -> tuple[Array, Array]:
    """Too low a LR leaves the base model's loss, a plateau; too high a one is a wall. Gains saturate with ALMR."""
    d = w - p["w0"] - p["coupling"] * (a - 0.5)
    valley = p["steep"] * np.where(
        d < 0, 2 * p["wide"] ** 2 * -np.expm1(-((d / p["wide"]) ** 2) / 2), _wall(d, p["power"])
    )
    original, additional = p["b"] * np.log1p(np.exp((a - p["a0"]) * 6)) / 3, p["k"] * -np.tanh(a / p["soon"])
    return 2.5 + original + valley, 3.5 + additional + valley


_BOWL = {"a0": (0.3, 0.7), "w0": (-0.8, 0.8), "coupling": (-2.0, 2.0), "curvature": (0.2, 1.0), "steep": (0.01, 0.1)}
_LOGS = {"b": (0.1, 0.6), "k": (0.1, 0.6), "w0": (-0.8, 0.8), "coupling": (0.1, 1.0), "steep": (0.01, 0.06)}
_CLIFF = _BOWL | {"power": (1.0, 2.0), "steep": (0.01, 0.06)}
FAMILIES = {
    "bowl": Family(_parabolic, _BOWL),
    "cliff": Family(_cliff, _CLIFF),
    "diverged": Family(_cliff, _CLIFF, diverged=0.4),
    "logs": Family(_logs, _LOGS),
    "asymmetric": Family(
        _asymmetric,
        _BOWL | {"steep": (0.015, 0.06), "up": (0.7, 1.4), "down": (0.1, 0.4), "skew": (-0.9, 0.9)},
    ),
    "flat": Family(_parabolic, _BOWL | {"curvature": (0.04, 0.12), "coupling": (1.0, 3.0), "steep": (0.01, 0.05)}),
    "forgetting": Family(
        _forgetting,
        {"f": (0.02, 0.1), "g": (1.5, 3.5), "h": (0.2, 0.7), "k": (0.4, 1.2), "m": (1.5, 3.5), "n": (0.1, 0.4)}
        | {"w0": (-1.0, 1.0), "steep": (0.01, 0.05)},
    ),
    "turning": Family(
        _turning,
        {key: span for key, span in _BOWL.items() if key != "coupling"} | {"turn": (-1.5, 1.5), "at": (0.25, 0.75)},
    ),
    "noisy": Family(_parabolic, _BOWL, noise=(0.002, 0.01), growth=(1.0, 2.0)),
    "edge": Family(_logs, _LOGS | {"w0": (-2.5, 2.5)}, from_edge=(0.02, INSIDE)),
}
HELD_OUT = {
    "powers": Family(
        _powers,
        {"e": (0.1, 0.5), "beta": (0.2, 0.6), "k": (0.3, 0.8), "gamma": (0.2, 0.6), "w0": (-0.8, 0.8)}
        | {"coupling": (-0.5, 0.5), "steep": (0.03, 0.15), "wide": (0.7, 1.5), "lean": (-0.3, 0.3)},
    ),
    "plateaus": Family(
        _plateaus,
        {"b": (0.2, 0.8), "a0": (0.4, 0.9), "k": (0.3, 0.9), "soon": (0.3, 0.8), "w0": (-0.5, 0.8)}
        | {"coupling": (-1.5, 1.5), "steep": (0.02, 0.1), "wide": (0.8, 1.6), "power": (0.8, 1.8)},
    ),
}
EVERY = FAMILIES | HELD_OUT
