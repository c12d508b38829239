"""`titrant diff`: what differs between two recipes, plans, runs or locks, as text for people or as JSON."""

import argparse
import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import json_option, nothing_to_act_on, trust_option
from titrant.schema.diagnostics.diagnostics import OK, OUT_OF_DATE
from titrant.schema.values.units import counted, format_size, format_time

if TYPE_CHECKING:
    from titrant.api.diff import Compared
    from titrant.schema.compare.difference import Difference

SYMBOLS = {"added": "+", "removed": "-", "changed": "~"}
NOTHING = {
    "recipe": "{old} and {new} ask for the same: nothing differs",
    "plan": "the plans of {old} and {new} are the same: nothing differs",
    "run": "the runs {old} and {new} are the same: nothing differs",
    "lock": "{old} and {new} hold the same facts: nothing differs",
}
LONGEST = 160
_DIGEST = re.compile(r"[0-9a-f]{32,}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    thing = "a recipe (.yaml), a saved plan (.json), a lock (.lock.yaml), or a run (folder, id, prefix, latest)"
    parser.add_argument("old", metavar="A", help=thing)
    parser.add_argument("new", metavar="B", help="another one; a recipe, a plan and a run can be compared too")
    json_option(parser, "the differences")
    parser.add_argument("--exit-code", action="store_true", help="exit 6 when anything but measurements differs")
    trust_option(parser)


def call(options: argparse.Namespace) -> int:
    """Print what differs."""
    from titrant.api.diff import diff as verb

    if options.trust:
        _refuse_trust(options)
    compared = verb(options.old, options.new, trust=options.trust)
    if options.json:
        console.answer_json(diff_value(compared))
    else:
        console.answer(diff_text(compared, verbose=options.verbose > 0))
    differ = any(not difference.measured and difference.layer != "aside" for difference in compared.differences)
    return OUT_OF_DATE if options.exit_code and differ else OK


def _refuse_trust(options: argparse.Namespace) -> None:
    """Refuse `--trust` where no recipe is planned: two recipes are compared as text."""
    from titrant.api.diff import kind_of

    if [kind_of(options.old), kind_of(options.new)].count("recipe") != 1:
        raise nothing_to_act_on("--trust", "a comparison that plans no recipe", "leave it out")


def diff_text(compared: "Compared", *, verbose: bool = False) -> str:
    """Write what differs, grouped by layer, the first cause of two runs in front; one sentence where nothing does.

    Unless `verbose`, what differs through measurements alone, outputs of steps whose keys differ, keys that follow from
    what a step reads, figures of candidates that neither run judged and predicted times within 1 % are counted and not
    listed, and long values are cut.
    """
    names = {"old": compared.old, "new": compared.new}
    if not compared.differences:
        return NOTHING[compared.kind].format(**names)
    shown = [
        difference
        for difference in compared.differences
        if verbose or not (_by_chance(difference) or difference.cause_kind == "key" or difference.minor)
    ]
    if not shown:
        kind = "measured value" if all(each.measured for each in compared.differences) else "figure"
        values = counted(len(compared.differences), kind)
        return wrapped(f"{compared.old} and {compared.new} differ in {values} alone: titrant diff -v lists them")
    # Where it is said what changed, the keys that follow from it are not worth a line each.
    if not verbose and any(not _follows(difference) for difference in shown):
        shown = [difference for difference in shown if not _follows(difference)]
    listed = {id(difference) for difference in shown}
    lines = [f"{compared.old} → {compared.new}"]
    if compared.first_cause is not None:
        lines.append(_first_cause(compared.first_cause))
    for layer, differences in groupby(shown, key=lambda difference: difference.layer):
        lines += ["", layer, *(line for difference in differences for line in _lines(difference, verbose))]
    hidden = [difference for difference in compared.differences if id(difference) not in listed]
    return "\n".join([*lines, *_hidden(hidden)])


def _follows(difference: "Difference") -> bool:
    """Whether a step's key differs only because of what the step reads."""
    return difference.layer == "keys" and difference.cause_kind == "read"


def _by_chance(difference: "Difference") -> bool:
    return difference.measured or _hardly_differs(difference)


def _hardly_differs(difference: "Difference") -> bool:
    """Whether a predicted time moved by no more than 1 %, which is less than any prediction is worth."""
    times = difference.layer == "predictions" and difference.change == "changed" and difference.unit == "s"
    return times and math.isclose(difference.old, difference.new, rel_tol=0.01)


def _first_cause(cause: "Difference") -> str:
    if cause.measured:
        return "they differ in measurements alone"
    return wrapped(f"first cause: {cause.layer} {cause.path}: {_change(cause, verbose=False)}", "", "    ")


def _lines(difference: "Difference", verbose: bool) -> Iterator[str]:
    text = ": ".join(filter(None, (f"{SYMBOLS[difference.change]} {difference.path}", _change(difference, verbose))))
    yield wrapped(text, "  ", "      ")
    places = [place for place in (difference.old_where, difference.new_where) if place]
    if places:
        yield wrapped(" → ".join(dict.fromkeys(places)), "      ", "      ")
    if difference.layer == "decisions" and isinstance(difference.new, Mapping) and difference.new.get("because"):
        yield wrapped(f"because {difference.new['because']}", "      ", "      ")
    if difference.cause:
        yield wrapped(f"follows from {difference.cause}", "      ", "      ")


def _hidden(differences: "list[Difference]") -> Iterator[str]:
    """Count what is not listed."""
    measured = sum(difference.measured for difference in differences)
    keys = sum(_follows(difference) and not difference.measured for difference in differences)
    outputs = sum(difference.cause_kind == "key" and not difference.measured for difference in differences)
    minor = sum(difference.minor and not difference.measured for difference in differences)
    close = sum(_hardly_differs(difference) and not difference.measured for difference in differences)
    parts = [f"{counted(keys, 'key')} of steps that read what changed"] * bool(keys)
    parts += [f"{counted(outputs, 'output')} because their keys do"] * bool(outputs)
    parts += [f"{counted(minor, 'figure')} of candidates that neither run judged"] * bool(minor)
    parts += [f"{counted(close, 'predicted time')} within 1 %"] * bool(close)
    parts += [f"{counted(measured, 'value')} through measurements alone"] * bool(measured)
    if parts:
        parts_text = ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1]
        yield from ("", wrapped(f"besides, {parts_text} differ: titrant diff -v lists them"))


def _change(difference: "Difference", verbose: bool) -> str:
    old, new = difference.old, difference.new
    if difference.layer == "decisions" and _is_decision(old, new):
        return _decision(old, new)
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and _scalars(old, new):
        return _listed(list(old), list(new))
    if difference.layer in ("steps", "candidates") and difference.change != "changed":
        whole = new or old
        if isinstance(whole, Mapping):
            return str(whole.get("operator") or whole.get("method"))
        return _write(whole, difference.unit)
    if difference.change == "added":
        return _cut(_write(new, difference.unit), verbose)
    if difference.change == "removed":
        return f"was {_cut(_write(old, difference.unit), verbose)}"
    return f"{_cut(_write(old, difference.unit), verbose)} → {_cut(_write(new, difference.unit), verbose)}"


def _is_decision(*values: Any) -> bool:
    return all(value is None or (isinstance(value, Mapping) and "chosen" in value) for value in values)


def _decision(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> str:
    if old is None or new is None:
        value = old or new or {}
        return f"{'was ' if new is None else ''}{value['chosen']}"
    if old["chosen"] != new["chosen"]:
        return f"{old['chosen']} → {new['chosen']}"
    if old["asked"] != new["asked"]:
        return f"{new['chosen']}, asked as {old['asked']} → {new['asked']}"
    before, after = ([rejected["value"] for rejected in value.get("rejected", ())] for value in (old, new))
    if before != after:
        return f"{new['chosen']}, rejected {_listed(before, after)}"
    by_another_rule = old["rule"] != new["rule"]
    return f"{new['chosen']}, by {old['rule']} → {new['rule']}" if by_another_rule else new["chosen"]


def _listed(old: list[Any], new: list[Any]) -> str:
    """Write two lists by what came and went; whole where only their order differs."""
    gone = [f"-{_plain(item)}" for item in old if item not in new]
    come = [f"+{_plain(item)}" for item in new if item not in old]
    whole = max(len(old), len(new)) <= 4 or not gone + come
    return f"{_plain(old)} → {_plain(new)}" if whole else ", ".join([*gone, *come])


def _scalars(*lists: Any) -> bool:
    return all(not isinstance(item, (Mapping, list, tuple)) for values in lists for item in values)


def _write(value: Any, unit: str) -> str:
    """Write a value: quantities with their unit, a gate's answer with its bounds, digests cut."""
    if isinstance(value, Mapping) and {"estimate", "lower", "upper", "verdict"} == set(value):
        figures = ["?" if value[name] is None else f"{value[name]:.4g}" for name in ("estimate", "lower", "upper")]
        return f"{value['verdict']} {figures[0]} [{figures[1]}, {figures[2]}]"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _plain(value)
    if unit == "s":
        return format_time(value)
    if unit == "B":
        return format_size(round(value))
    return (f"{value:.6g}" if isinstance(value, float) else str(value)) + (f" {unit}" if unit else "")


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return _DIGEST.sub(lambda digest: digest.group()[:12], value)
    text = "none" if value is None else json.dumps(_without_none(value), ensure_ascii=False, sort_keys=True)
    return _DIGEST.sub(lambda digest: digest.group()[:12], text)


def _without_none(value: Any) -> Any:
    """Leave out the keys that hold nothing."""
    if isinstance(value, Mapping):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return [_without_none(item) for item in value] if isinstance(value, (list, tuple)) else value


def _cut(text: str, verbose: bool) -> str:
    return text if verbose or len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def diff_value(compared: "Compared") -> dict[str, Any]:
    """Return what differs as JSON."""
    return {
        "kind": compared.kind,
        "old": compared.old,
        "new": compared.new,
        "first_cause": None if compared.first_cause is None else _value(compared.first_cause),
        "differences": [_value(difference) for difference in compared.differences],
    }


def _value(difference: "Difference") -> dict[str, Any]:
    from titrant.schema.values.canonical import plain

    value: dict[str, Any] = plain(difference)
    return {"change": difference.change, **value}
