"""`titrant evidence`: make a run's evidence pack, sign it, or check one that was signed."""

import argparse

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import json_option, nothing_to_act_on
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError
from titrant.schema.release import DOCUMENTS
from titrant.schema.values.units import counted

_OPTIONS = {"make": ("against", "document"), "sign": ("key",), "verify": ("public_key",)}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("action", choices=tuple(_OPTIONS))
    parser.add_argument("run", metavar="RUN", help="folder, id, unique prefix, or latest")
    json_option(parser, "the answer")
    make = parser.add_argument_group("make", "write the documents into RUN/evidence, in place of those that are there")
    make.add_argument("--against", metavar="RUN", help="describe the change from this run; default: the last release")
    make.add_argument(
        "--document", action="append", default=[], metavar="NAME",
        help=f"only this one (again for more): {', '.join(DOCUMENTS)}; default: what the recipe asks for, else all",
    )  # fmt: skip
    sign = parser.add_argument_group("sign", "sign evidence and outputs with a key of your own; no network")
    sign.add_argument("--key", metavar="FILE", help="private key in PEM; TITRANT_KEY_PASSWORD opens an encrypted one")
    verify = parser.add_argument_group("verify", "check both against their signatures; exit 4 names what changed")
    verify.add_argument("--public-key", metavar="FILE", help="public key in PEM")


def call(options: argparse.Namespace) -> int:
    """Make, sign or verify a pack."""
    _check_options(options)
    from titrant.api import evidence as verbs

    if options.action == "make":
        pack = verbs.make(options.run, documents=options.document, against=options.against)
        lines = [f"{pack.folder}: {counted(len(pack.files), 'file')}"]
        lines += [wrapped(f"{name}: left out, since {why}", "  ", "    ") for name, why in pack.left_out.items()]
        lines += [f"  change described against {pack.against}"] * bool(pack.against)
        value: dict[str, object] = {
            "folder": str(pack.folder),
            "files": pack.files,
            "left_out": pack.left_out,
            "against": pack.against,
        }
        _answer(options, value, lines)
    elif options.action == "sign":
        signed = verbs.sign(options.run, options.key)
        files = counted(signed.files, "file")
        signatures = [str(path) for path in signed.signatures]
        value = {"files": signed.files, "signatures": signatures, "key": signed.key}
        _answer(options, value, [f"{files} signed with the key {signed.key[:16]}", *signatures])
    else:
        verified = verbs.verify(options.run, options.public_key)
        said = (
            f"{counted(verified.files, 'file')} and {counted(verified.signatures, 'signature')} are as they were signed"
        )
        _answer(options, verified, [f"{said}, by the key {verified.key[:16]}"])
    return OK


def _check_options(options: argparse.Namespace) -> None:
    """Refuse an option of another action, and one that is missing, rather than ignore it."""
    for action, names in _OPTIONS.items():
        for name in names:
            option = f"--{name.replace('_', '-')}"
            if action != options.action and getattr(options, name):
                raise nothing_to_act_on(option, f"evidence {options.action}", "see titrant evidence --help")
            if action == options.action and action != "make" and not getattr(options, name):
                message = f"evidence {action} needs {option}"
                raise RecipeError(Diagnostic("X591", message, help=f"titrant evidence {action} RUN {option} FILE"))


def _answer(options: argparse.Namespace, value: object, lines: list[str]) -> None:
    if options.json:
        console.answer_json(value)
    else:
        console.answer("\n".join(lines))
