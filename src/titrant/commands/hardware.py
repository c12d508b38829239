"""`titrant hardware`: describe this machine or another, measure it, follow it."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from titrant import console
from titrant.commands.options import json_option
from titrant.layout import table
from titrant.schema.exit_codes import OK

if TYPE_CHECKING:
    from titrant.schema.facts import Hardware

_FOREVER = float("inf")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "profile", nargs="?", metavar="PROFILE", help="another machine: a shipped profile or a saved file"
    )
    parser.add_argument("--profiles", action="store_true", help="list the shipped profiles")
    parser.add_argument("--bench", action="store_true", help="measure arithmetic, memory and disk; keep the figures")
    parser.add_argument(
        "--watch", nargs="?", type=float, const=_FOREVER, metavar="SECONDS",
        help="follow cores, memory, disk and GPUs once a second, until Ctrl-C or for this many seconds",
    )  # fmt: skip
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the description to plan with elsewhere")
    json_option(parser, "the description, or a sample a line")


def call(options: argparse.Namespace) -> int:
    """Describe, measure, follow or save a machine."""
    from titrant.verbs.hardware import find_hardware, save_hardware

    _refuse_together(options)
    if options.profiles:
        _list_profiles(options)
        return OK
    if options.watch is not None:
        _watch(options)
        return OK
    found = find_hardware(options.profile) if options.profile else _detected(measure=options.bench)
    if options.save:
        save_hardware(found, options.save)
        if not options.quiet:
            console.note(f"saved {options.save}; plan for it with: titrant plan RECIPE --hardware {options.save}")
    if options.json or not options.save:
        _show(found, options)
    return OK


def _detected(measure: bool) -> "Hardware":
    from titrant.compiler.hardware import detect
    from titrant.verbs.facts import home_folder
    from titrant.verbs.measure_machine import measure_machine

    if measure:
        console.note("measuring arithmetic, memory, disk and the start of a worker: up to 20 s")
        measure_machine()
    return detect(home_folder())


def _show(found: "Hardware", options: argparse.Namespace) -> None:
    from titrant.hardware_text import elsewhere_text, hardware_text
    from titrant.schema.canonical import plain
    from titrant.verbs.engines import engines
    from titrant.verbs.facts import home_folder

    tried = engines(found.identity, home_folder()) if options.verbose and not options.profile else None
    if options.json:
        console.answer_json({**plain(found), **({} if tried is None else {"engines": plain(tried)})})
        return
    elsewhere = elsewhere_text(found, "another machine")
    console.answer("\n".join(filter(None, (elsewhere, hardware_text(found, tried)))))


def _list_profiles(options: argparse.Namespace) -> None:
    from titrant.compiler.profile import profiles, shipped_profile

    listed = {name: shipped_profile(name).description for name in profiles()}
    if options.json:
        console.answer_json(listed)
    else:
        console.answer(table(list(listed.items())))


def _watch(options: argparse.Namespace) -> None:
    from titrant.compiler.limits import memory_total
    from titrant.hardware_text import cores_bars, sample_text
    from titrant.verbs.facts import home_folder
    from titrant.verbs.watch_machine import watch_machine

    total = memory_total()
    # Ctrl-C is how one ends a watch.
    with suppress(KeyboardInterrupt):
        if options.json:
            for sample in watch_machine(home_folder(), options.watch):
                if not console.answer_json(sample, lines=True):
                    return
            return
        with console.InPlace() as shown:
            for sample in watch_machine(home_folder(), options.watch):
                if not shown(sample_text(sample, total), cores_bars(sample)):
                    return


def _refuse_together(options: argparse.Namespace) -> None:
    """Refuse options that would have nothing to act on, rather than ignore them."""
    from titrant.schema.diagnostics import Diagnostic, RecipeError

    asked = [name for name in ("--profiles", "--watch", "--bench", "--save") if _given(options, name)]
    alone = [name for name in asked if name in ("--profiles", "--watch")]
    problem, advice = "", "leave one of them out: titrant hardware --help"
    if options.profile and (wrong := [name for name in asked if name != "--save"]):
        problem = f"{wrong[0]} is about this machine, and {options.profile} is another"
    elif alone and len(asked) > 1:
        problem = f"{alone[0]} and {next(name for name in asked if name != alone[0])} cannot be done at once"
    elif options.watch is not None and not options.watch > 0:
        problem, advice = f"{options.watch:g} s is not a time to watch for", "give a number of seconds above 0"
    if problem:
        raise RecipeError(Diagnostic("P014", problem, help=advice))


def _given(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name.removeprefix("--")) not in (None, False)
