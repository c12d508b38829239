"""What `titrant doctor` found, as text for people."""

from collections.abc import Iterable

from titrant.hardware_text import cores_text
from titrant.layout import wrapped
from titrant.schema.units import format_size
from titrant.verbs.doctor import Checkup, all_findings, lacking
from titrant.verbs.finding import Finding, Suits

_INDENT = 28


def doctor_text(checkup: Checkup) -> str:
    """Write the environment, the recipe's needs, what suits this machine, and a verdict."""
    identity = checkup.hardware.identity
    memory = "unknown memory" if identity.memory_bytes is None else format_size(identity.memory_bytes)
    blocks = [
        f"{identity.cpu} · {cores_text(identity.cores)} · {memory}",
        _block("environment", map(_finding, checkup.environment)),
    ]
    if checkup.needs:
        blocks.append(_block(f"what {checkup.recipe} needs", map(_finding, checkup.needs)))
    blocks += [
        _block("what this machine can do", map(_finding, checkup.capabilities)),
        _block("levels for this machine, the one that suits best first", map(_suits, checkup.levels)),
        _block("quantization methods, from gentle to aggressive", map(_suits, checkup.methods)),
        _verdict(checkup),
    ]
    return "\n\n".join(blocks) + "\n"


def _block(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, *lines])


def _finding(finding: Finding) -> str:
    line = _filled(f"  {finding.state:<5} {finding.subject:<18}", finding.found)
    return f"{line}\n{_filled(' ' * _INDENT, f'→ {finding.remedy}')}" if finding.remedy else line


def _suits(one: Suits) -> str:
    return _filled(f"  {'yes' if one.suits else 'no':<5} {one.name:<18}", one.because)


def _filled(head: str, text: str) -> str:
    return wrapped(text, f"{head:<{_INDENT}}", " " * _INDENT)


def _verdict(checkup: Checkup) -> str:
    lacks = lacking(all_findings(checkup))
    if not lacks:
        return f"able to run {checkup.recipe} here" if checkup.recipe else "able to work here"
    subjects = ", ".join(dict.fromkeys(finding.subject for finding in lacks))
    what = f"run {checkup.recipe}" if checkup.recipe else "work"
    return f"not able to {what} here yet: {subjects}"
