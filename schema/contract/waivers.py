"""Waivers: which gates may be let through although they do not pass, by whom, why and until which day."""

from collections.abc import Iterable

from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class GateWaiver:
    """One gate that may be let through up to and on the day `until` (UTC, ISO 8601), who said so and why."""

    gate: str
    reason: str
    by: str
    until: str

    def holds_on(self, day: str) -> bool:
        """Whether it holds on a day (ISO 8601): still on its last one, no more on the next."""
        return day <= self.until


@dataclass(frozen=True)
class WaivedGate:
    """A gate that a waiver let through, what it had answered (FAIL, INCONCLUSIVE), and the waiver."""

    gate: str
    verdict: str
    reason: str
    by: str
    until: str


# How a run, a file and a rung are called that were released only because a waiver holds.
WAIVED = "WAIVED"


def waived_verdict(verdict: str) -> str:
    """Write what a gate answered that a waiver lets through, as "WAIVED (FAIL)"; never PASS."""
    return f"{WAIVED} ({verdict})"


def waiver_words(waiver: GateWaiver | WaivedGate) -> str:
    """Write who waived a gate until when, and why."""
    return f"waived by {waiver.by} until {waiver.until}: {waiver.reason}"


def ended_words(waiver: GateWaiver) -> str:
    """Say that a waiver holds no more."""
    return f"the waiver by {waiver.by} ended with {waiver.until}"


def expected_words(waiver: GateWaiver, day: str) -> str:
    """Say what a waiver means to a gate that is not judged yet, on a day."""
    if not waiver.holds_on(day):
        return f"{ended_words(waiver)}: it blocks again ({waiver.reason})"
    return f"if it does not pass: {waiver_words(waiver)}"


def needless_words(waiver: GateWaiver) -> str:
    """Say that a gate passes which a waiver is about."""
    return f"the gate {waiver.gate} passes: the waiver by {waiver.by} is not needed, take it out of validation.accept"


def of_gates(waivers: Iterable[GateWaiver]) -> dict[str, GateWaiver]:
    """Return waivers by the gate that each is about."""
    return {waiver.gate: waiver for waiver in waivers}
