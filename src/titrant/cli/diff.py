"""`titrant diff`: what differs between two recipes, plans, runs or locks.

What differs, as text for people and as JSON.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from titrant.api.diff import Compared
from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import json_option, nothing_to_act_on, trust_option
from titrant.schema.compare.difference import Difference
from titrant.schema.compare.steps import KEY, READ
from titrant.schema.diagnostics.diagnostics import OK, OUT_OF_DATE
from titrant.schema.values.units import counted, format_size, format_time


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
    found = verb(options.old, options.new, trust=options.trust)
    if options.json:
        console.answer_json(diff_value(found))
    else:
        console.answer(diff_text(found, verbose=options.verbose > 0))
    differ = any(not one.measured and one.layer != "aside" for one in found.differences)
    return OUT_OF_DATE if options.exit_code and differ else OK


def _refuse_trust(options: argparse.Namespace) -> None:
    """Refuse `--trust` where no recipe is planned: two recipes are compared as text."""
    from titrant.api.diff import kind_of

    if [kind_of(options.old), kind_of(options.new)].count("recipe") != 1:
        raise nothing_to_act_on("--trust", "a comparison that plans no recipe", "leave it out")


SYMBOLS = {"added": "+", "removed": "-", "changed": "~"}
NOTHING = {
    "recipe": "{old} and {new} ask for the same: nothing differs",
    "plan": "the plans of {old} and {new} are the same: nothing differs",
    "run": "the runs {old} and {new} are the same: nothing differs",
    "lock": "{old} and {new} hold the same facts: nothing differs",
}
_DIGEST = re.compile(r"[0-9a-f]{32,}")
LONGEST = 160


def diff_text(compared: Compared, *, verbose: bool = False) -> str:
    """Write what differs, grouped by layer, the first cause of two runs in front; one sentence where nothing does.

    Unless `verbose`, what differs through measurements alone, outputs of steps whose keys differ, and keys that follow
    from what a step reads are counted and not listed, and long values are cut.
    """
    names = {"old": compared.old, "new": compared.new}
    if not compared.differences:
        return NOTHING[compared.kind].format(**names)
    shown = [one for one in compared.differences if verbose or not (one.measured or one.cause == KEY)]
    if not shown:
        values = counted(len(compared.differences), "measured value")
        return wrapped(f"{compared.old} and {compared.new} differ in {values} alone: titrant diff -v lists them")
    # Where it is said what changed, the keys that follow from it are not worth a line each.
    if not verbose and any(not _follows(one) for one in shown):
        shown = [one for one in shown if not _follows(one)]
    listed = {id(one) for one in shown}
    lines = [f"{compared.old} → {compared.new}"]
    if compared.first_cause is not None:
        lines.append(_first_cause(compared.first_cause))
    for layer, found in groupby(shown, key=lambda one: one.layer):
        lines += ["", layer, *(line for one in found for line in _lines(one, verbose))]
    return "\n".join([*lines, *_hidden([one for one in compared.differences if id(one) not in listed])])


def _follows(one: Difference) -> bool:
    """Whether a step's key differs only because of what the step reads."""
    return one.layer == "keys" and one.cause.endswith(READ)


def _hidden(found: list[Difference]) -> Iterator[str]:
    """Count what is not listed."""
    measured = sum(one.measured for one in found)
    keys = sum(_follows(one) and not one.measured for one in found)
    outputs = sum(one.cause == KEY and not one.measured for one in found)
    parts = [f"{counted(keys, 'key')} of steps that read what changed"] * bool(keys)
    parts += [f"{counted(outputs, 'output')} because their keys do"] * bool(outputs)
    parts += [f"{counted(measured, 'value')} through measurements alone"] * bool(measured)
    if parts:
        told = ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1]
        yield from ("", wrapped(f"besides, {told} differ: titrant diff -v lists them"))


def diff_value(compared: Compared) -> dict[str, Any]:
    """Return what differs as JSON."""
    return {
        "kind": compared.kind,
        "old": compared.old,
        "new": compared.new,
        "first_cause": None if compared.first_cause is None else _value(compared.first_cause),
        "differences": [_value(one) for one in compared.differences],
    }


def _value(one: Difference) -> dict[str, Any]:
    from titrant.schema.values.canonical import plain

    value: dict[str, Any] = plain(one)
    return {"change": one.change, **value}


def _first_cause(cause: Difference) -> str:
    if cause.measured:
        return "they differ in measurements alone"
    return wrapped(f"first cause: {cause.layer} {cause.path}: {_change(cause, verbose=False)}", "", "    ")


def _lines(one: Difference, verbose: bool) -> Iterator[str]:
    text = f"{SYMBOLS[one.change]} {one.path}: {_change(one, verbose)}".rstrip(": ")
    yield wrapped(text, "  ", "      ")
    places = [place for place in (one.old_where, one.new_where) if place]
    if places:
        yield wrapped(" → ".join(dict.fromkeys(places)), "      ", "      ")
    if one.layer == "decisions" and isinstance(one.new, Mapping) and one.new.get("because"):
        yield wrapped(f"because {one.new['because']}", "      ", "      ")
    if one.cause:
        yield wrapped(f"follows from {one.cause}", "      ", "      ")


def _change(one: Difference, verbose: bool) -> str:
    if one.layer == "decisions" and _is_decision(one.old, one.new):
        return _decision(one.old, one.new)
    if isinstance(one.old, (list, tuple)) and isinstance(one.new, (list, tuple)) and _scalars(one.old, one.new):
        return _listed(list(one.old), list(one.new))
    if one.layer in ("steps", "candidates") and one.change != "changed":
        whole = one.new or one.old
        return str(whole.get("operator") or whole.get("method")) if isinstance(whole, Mapping) else _write(whole, one)
    if one.change == "added":
        return _cut(_write(one.new, one), verbose)
    if one.change == "removed":
        return f"was {_cut(_write(one.old, one), verbose)}"
    return f"{_cut(_write(one.old, one), verbose)} → {_cut(_write(one.new, one), verbose)}"


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
    before, after = ([one["value"] for one in value.get("rejected", ())] for value in (old, new))
    return f"{new['chosen']}, rejected {_listed(before, after)}" if before != after else new["chosen"]


def _listed(old: list[Any], new: list[Any]) -> str:
    """Write two lists by what came and went; whole where only their order differs."""
    gone = [f"-{_plain(item)}" for item in old if item not in new]
    come = [f"+{_plain(item)}" for item in new if item not in old]
    whole = max(len(old), len(new)) <= 4 or not gone + come
    return f"{_plain(old)} → {_plain(new)}" if whole else ", ".join([*gone, *come])


def _scalars(*lists: Any) -> bool:
    return all(not isinstance(item, (Mapping, list, tuple)) for values in lists for item in values)


def _write(value: Any, one: Difference) -> str:
    """Write a value: quantities with their unit, a gate's answer with its bounds, digests cut."""
    if isinstance(value, Mapping) and {"estimate", "lower", "upper", "verdict"} == set(value):
        figures = ["?" if value[name] is None else f"{value[name]:.4g}" for name in ("estimate", "lower", "upper")]
        return f"{value['verdict']} {figures[0]} [{figures[1]}, {figures[2]}]"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _plain(value)
    if one.unit == "s":
        return format_time(value)
    if one.unit == "B":
        return format_size(round(value))
    return (f"{value:.6g}" if isinstance(value, float) else str(value)) + (f" {one.unit}" if one.unit else "")


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return _DIGEST.sub(lambda digest: digest.group()[:12], value)
    text = "none" if value is None else json.dumps(_told(value), ensure_ascii=False, sort_keys=True)
    return _DIGEST.sub(lambda digest: digest.group()[:12], text)


def _told(value: Any) -> Any:
    """Leave out the keys that hold nothing."""
    if isinstance(value, Mapping):
        return {name: _told(inner) for name, inner in value.items() if inner is not None}
    return [_told(item) for item in value] if isinstance(value, (list, tuple)) else value


def _cut(text: str, verbose: bool) -> str:
    return text if verbose or len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
