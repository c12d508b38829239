"""The chance that all gates of a contract together pass a faithful candidate, as simulated while planning, in words."""

from collections.abc import Mapping
from dataclasses import field

from titrant.schema.gate import Gate
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import MIN_CELL, counted, is_small

# The share of decisions that a faithful candidate changes, half of them for the worse.
CHANGE = 0.005
# The share of cases that the original has right, where no gate asks it for more.
RIGHT = 0.9
# How far a changed decision moves a case's Brier score (a probability of 3/4 that becomes 1/4) and its place among the
# other class.
MOVED = 0.5
# The area under the ROC curve that the original is assumed to have.
AREA = 0.9
# How likely the gate that costs most is made by the further rows that are named.
WANTED = 0.9


@dataclass(frozen=True)
class JointPower:
    """How often a faithful candidate passes, 0..1: all gates together and each by itself.

    `error` is two Monte Carlo standard errors of `chance`. `costliest` is the gate that passes least often, by its id,
    "" where there is none; with `more_rows` further rows, of those that `more_of` names, it alone would pass with 90 %;
    None where it does so already, or no number was found. `left_out` are gates on time, size and what nobody can
    simulate. `inputs` digests what went in. `chance` is None where there was nothing to simulate.
    """

    chance: float | None
    error: float = 0.0
    draws: int = 0
    gates: Mapping[str, float] = field(default_factory=dict)
    costliest: str = ""
    more_rows: int | None = None
    more_of: str = ""
    left_out: tuple[str, ...] = ()
    inputs: str = ""


def power_words(power: JointPower | None, gates: tuple[Gate, ...], least: int = MIN_CELL) -> str:
    """Write what is expected of all gates together; "" where none of them is about answers.

    Further rows are not named of a group of fewer than `least` cases, whose size they would tell.
    """
    if power is None:
        return "all gates together pass a faithful candidate with (known after planning where the data are)"
    if power.chance is None:
        return ""
    chance = f"{100 * power.chance:.0f} % (± {max(100 * power.error, 1):.0f})"
    words = f"all gates together pass a faithful candidate with {chance} at these rows"
    return "; ".join([words, *_costliest(power, gates, least), _assumed(power)])


def _costliest(power: JointPower, gates: tuple[Gate, ...], least: int) -> list[str]:
    gate = next((gate for gate in gates if gate.id == power.costliest), None)
    if gate is None:
        return []
    own = power.gates[gate.id]
    words = f"the costliest is {gate.id} ({100 * own:.0f} %)"
    small = gate.available_cases is not None and is_small(gate.available_cases, least)
    if power.more_rows is None or small:
        return [words]
    return [f"{words}, {power.more_rows:,} more {power.more_of} would make {100 * WANTED:.0f} %"]


def _assumed(power: JointPower) -> str:
    assumed = f"assumed: {100 * CHANGE:.3g} % of the decisions change, half of them for the worse"
    return f"{assumed}; {counted(len(power.left_out), 'gate')} not in it" if power.left_out else assumed


def came_words(power: JointPower | None, passed: Mapping[str, bool]) -> str:
    """Write what came of each gate, by its id, beside what was expected of all together; "" where nothing was."""
    came = [passed[name] for name in power.gates if name in passed] if power is not None else []
    if power is None or power.chance is None or not came:
        return ""
    words = f"all {len(came)} passed" if all(came) else f"{sum(came)} of {len(came)} passed"
    return (
        f"Predicted before the run: all gates on answers together pass a faithful candidate with "
        f"{100 * power.chance:.0f} % at these rows; of this candidate {words}."
    )
