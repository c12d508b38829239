"""Rows of several sites whose losses, or whose order, differ from site to site; at the margin over all of them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from contract.cells import FLIPS, Cell, Draw, evidence_of, gate_of
from scipy.stats import norm  # noqa: TID253 - the independent computation

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import TESTS as POOLED
from titrant.runtime.contract.measures.stratified import STRATIFIED
from titrant.runtime.contract.verdict import verdict
from titrant.schema.gate import Gate

_SHARES, _RIGHT = np.array([0.5, 0.35, 0.15]), np.array([0.95, 0.85, 0.7])
# Which share of the loss each site has.
_PATTERNS = {"alike": (0.5, 0.35, 0.15), "one site alone": (0.0, 0.0, 1.0), "some lose, some gain": (1.4, 0.0, -0.4)}


def _passes(gate: Gate, found: Evidence) -> tuple[bool, bool]:
    return tuple(verdict(gate, tests[gate.test](gate, found)) == "PASS" for tests in (POOLED, STRATIFIED))  # type: ignore[return-value]


def _sited(found: Evidence, sites: np.ndarray) -> Evidence:
    rows = replace(found.rows, subgroups={"strata": sites}, subgroup_values={"strata": ("A", "B", "C")})
    return replace(found, rows=rows, stratified=True)


def sites() -> Iterator[Cell]:
    """Losses at all sites, at the smallest alone, and at one while another gains; before: one test of all rows."""
    for comparison, threshold in (("retention", 0.95), ("retention", 0.98), ("drop_at_most", 0.05)):
        for pattern, parts in _PATTERNS.items():
            for cases in (300, 1000, 10000):

                def make(
                    at: tuple[str, float] = (comparison, threshold),
                    parts: tuple[float, ...] = parts,
                    cases: int = cases,
                ) -> Draw:
                    gate = gate_of("accuracy", *at)
                    allowed = at[1] if at[0] == "drop_at_most" else (1 - at[1]) * float(_SHARES @ _RIGHT)
                    rates = allowed * np.array(parts) / _SHARES
                    lost = np.where(rates > 0, rates / _RIGHT, 0.0)
                    gained = np.where(rates < 0, -rates / (1 - _RIGHT), 0.0)

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        site = rng.choice(3, cases, p=_SHARES)
                        old = rng.random(cases) < _RIGHT[site]
                        chance = rng.random(cases)
                        flips = np.where(old, lost[site], gained[site]) if margin else np.full(cases, FLIPS)
                        new = np.where(chance < flips, ~old, old)
                        labels = np.ones(cases, np.int64)
                        found = _sited(evidence_of(labels, old.astype(float), new.astype(float)), site)
                        return _passes(gate, found)

                    return draw

                yield Cell("several sites", f"{pattern}, {comparison}", str(cases), threshold, make)


def sited_areas() -> Iterator[Cell]:
    """A candidate whose order is that of the sites: all that it tells within one is lost in some of the cases."""
    for cases in (600, 2000):

        def make(cases: int = cases) -> Draw:
            gate = gate_of("auroc", "retention", 0.95)

            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                site = rng.choice(3, cases, p=_SHARES)
                ill = rng.random(cases) < np.array([0.2, 0.5, 0.8])[site]
                old = rng.normal(0, 1, cases) + 2 * ill + 3 * site
                new = old + 1e-4 * rng.normal(0, 1, cases)
                if margin:
                    # A case that is scored as some other of its site is ranked by chance, within the site: the area
                    # falls by this share of its distance from one half.
                    area = norm.cdf(2 / np.sqrt(2))
                    rate = 0.05 * area / (area - 0.5)
                    blank = rng.random(cases) < rate
                    other = rng.normal(0, 1, cases) + 2 * (rng.random(cases) < np.array([0.2, 0.5, 0.8])[site])
                    new = np.where(blank, other + 3 * site, new)
                scores = [1 / (1 + np.exp(-one)) for one in (old, new)]
                return _passes(gate, _sited(evidence_of(ill.astype(np.int64), *scores), site))

            return draw

        yield Cell("AUROC of several sites", "order within sites lost", str(cases), 0.95, make)


def sited_metrics() -> Iterator[Cell]:
    """F1 and precision of several sites, each with its fixed share of the rows, by the tests of all rows together."""
    for metric in ("f1", "precision"):
        for pattern, parts in _PATTERNS.items():
            for cases in (1000, 3000):

                def make(metric: str = metric, parts: tuple[float, ...] = parts, cases: int = cases) -> Draw:
                    gate = gate_of(metric, "drop_at_most", 0.04)
                    rates = _change(metric, 0.04, np.array(parts))

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        site = np.repeat(np.arange(3), (_SHARES * cases).astype(int))
                        ill = rng.random(len(site)) < _ILL
                        old = np.where(ill, rng.random(len(site)) < _RIGHT[site], rng.random(len(site)) > _RIGHT[site])
                        flipped = np.where(rng.random(len(site)) < FLIPS, ~old, old)
                        new = _changed(rng, metric, (site, ill, old), rates) if margin else flipped
                        found = _sited(evidence_of(ill.astype(np.int64), old.astype(float), new.astype(float)), site)
                        return None, verdict(gate, POOLED[gate.test](gate, found)) == "PASS"

                    return draw

                yield Cell("F1 and precision of several sites", f"{pattern}, {metric}", str(cases), 0.04, make)


# Which share of the cases is ill, at every site.
_ILL = 0.5
# Which share of the right decisions of the class that the metric does not lose becomes wrong, and as many right.
_EXCHANGED = 0.03


def _value(metric: str, rates: np.ndarray) -> float:
    """Return the metric of all rows where at each site this share of what counts for it is lost, below 0 gained."""
    hits = _ILL * _SHARES @ (_RIGHT * (1 - rates * (rates > 0)) - (1 - _RIGHT) * rates * (rates < 0))
    if metric == "f1":
        return 2 * hits / (hits + (1 - _ILL) * _SHARES @ (1 - _RIGHT) + _ILL)
    hits, wrong = _ILL * _SHARES @ _RIGHT, (1 - _ILL) * _SHARES @ (1 - _RIGHT)
    added = (1 - _ILL) * _SHARES @ (_RIGHT * rates * (rates > 0) + (1 - _RIGHT) * rates * (rates < 0))
    return hits / (hits + wrong + added)


def _change(metric: str, drop: float, parts: np.ndarray) -> np.ndarray:
    """Return by how much each site changes so that the metric of all rows falls by so much."""
    target = _value(metric, np.zeros(3)) - drop
    low, high = 0.0, float(1 / np.abs(parts / _SHARES).max())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _value(metric, middle * parts / _SHARES) > target else (low, middle)
    return high * parts / _SHARES


def _changed(
    rng: np.random.Generator, metric: str, cases: tuple[np.ndarray, np.ndarray, np.ndarray], rates: np.ndarray
) -> np.ndarray:
    """Lose caught cases for F1, add false alarms for precision; where a rate is below 0 the other way round."""
    site, ill, old = cases
    about = ill if metric == "f1" else ~ill
    right = old == ill
    chosen = about & np.where(rates[site] > 0, right, ~right) & (rng.random(len(site)) < np.abs(rates[site]))
    # As many errors of the other class come as go: with changes of both kinds the resamples decide.
    right_rate = np.where(right, _EXCHANGED, _EXCHANGED * _RIGHT[site] / (1 - _RIGHT[site]))
    exchanged = ~about & (rng.random(len(site)) < right_rate)
    return np.where(chosen | exchanged, ~old, old)


def sited_groups() -> Iterator[Cell]:
    """The ratio of two subgroups' accuracy at 0.9, whose rows come from three unlike sites in unlike shares."""
    for cases in (300, 1000, 4000):

        def make(cases: int = cases) -> Draw:
            gate = replace(gate_of("accuracy", "ratio_at_least", 0.9), slice="subgroup sex.a / sex.b")
            mixed = np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2]])

            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                site = np.concatenate([np.repeat(np.arange(3), (shares * cases / 2).astype(int)) for shares in mixed])
                group = np.repeat([0, 1], len(site) // 2)
                means = mixed @ _RIGHT
                times = np.array([(0.9 if margin else 1.0) * means[1] / means[0], 1.0])
                right = rng.random(len(site)) < np.minimum(_RIGHT[site] * times[group], 1.0)
                found = _sited(
                    evidence_of(np.ones(len(site), np.int64), right.astype(float), right.astype(float)), site
                )
                rows = replace(
                    found.rows,
                    subgroups={**found.rows.subgroups, "sex": group},
                    subgroup_values={**found.rows.subgroup_values, "sex": ("a", "b")},
                )
                return None, verdict(gate, POOLED[gate.test](gate, replace(found, rows=rows))) == "PASS"

            return draw

        yield Cell("ratio of subgroups of several sites", "sites in unlike shares", str(cases), 0.9, make)
