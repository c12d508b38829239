"""Say what this environment cannot do yet, what would change it, and what suits this machine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from titrant.schema.facts import Hardware
from titrant.verbs.engines import Engine
from titrant.verbs.finding import Finding, Suits

if TYPE_CHECKING:
    from titrant.schema.source import ParsedRecipe


@dataclass(frozen=True)
class Checkup:
    """What was found out; `able` is False when anything lacks that the work needs."""

    able: bool
    recipe: str | None
    environment: tuple[Finding, ...]
    needs: tuple[Finding, ...]  # of the recipe; () without one
    capabilities: tuple[Finding, ...]
    levels: tuple[Suits, ...]
    methods: tuple[Suits, ...]
    hardware: Hardware
    engines: tuple[Engine, ...]


def doctor(recipe: "ParsedRecipe | None" = None, *, trust: bool = False) -> Checkup:
    """Look at this environment and, given a recipe, at all that it needs; nothing is installed or changed.

    Engines are loaded in child processes (once for each set of versions), and a recipe's own code runs in one, as it
    does for a plan. Raises RecipeError when the recipe itself is wrong.
    """
    from titrant.compiler.bind import bind
    from titrant.compiler.hardware import detect
    from titrant.schema.home_path import home_path
    from titrant.verbs.engines import engines
    from titrant.verbs.examine_machine import examine_machine
    from titrant.verbs.examine_recipe import examine_recipe
    from titrant.verbs.suitability import capabilities, levels, methods

    if recipe is not None:
        bind(recipe, trust=trust)
    home = home_path()
    hardware = detect(home)
    tried = engines(hardware.identity, home)
    environment = tuple(examine_machine(hardware, tried, home))
    needs: tuple[Finding, ...] = ()
    if recipe is not None and not lacking(environment):
        needs = tuple(examine_recipe(recipe, hardware, tried, trust=trust))
    return Checkup(
        able=not any(lacking((*environment, *needs))),
        recipe=None if recipe is None else recipe.file,
        environment=environment,
        needs=needs,
        capabilities=tuple(capabilities(hardware)),
        levels=tuple(levels(hardware)),
        methods=tuple(methods(hardware)),
        hardware=hardware,
        engines=tried,
    )


def lacking(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop work."""
    return [finding for finding in findings if finding.state == "lack"]


def all_findings(checkup: Checkup) -> Iterator[Finding]:
    """Yield every finding about the environment and the recipe."""
    yield from checkup.environment
    yield from checkup.needs
