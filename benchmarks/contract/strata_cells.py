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
