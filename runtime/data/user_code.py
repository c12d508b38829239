"""Call the recipe's own code and turn what it raises into one line."""

import difflib
import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from titrant.runtime.execution.user_code import Territory
from titrant.schema.diagnostics import Diagnostic, StepError, TitrantError


def resolve(reference: str) -> Callable[..., Any]:
    """Import what `module:Name` refers to.

    Raises StepError X150 when the module or the name is not there, X108 when the module raises while imported.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise StepError(
            Diagnostic(
                "X150",
                f"{reference}: there is no module {error.name}",
                help="modules are looked for in the recipe's folder and in the installed environment",
            )
        ) from None
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything
        raise _told(f"importing {module_name}", error) from None
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), 1)
        raise StepError(
            Diagnostic(
                "X150",
                f"{reference}: {module_name} has no {attribute}",
                help=f"did you mean {near[0]}?" if near else f"define {attribute} in {module_name}",
            )
        )
    return getattr(module, attribute)  # type: ignore[no-any-return]


def call(what: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call the user's function; StepError X108, one line naming `what` and the user's line, when it raises."""
    try:
        return function(*args, **named)
    except TitrantError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise _told(what, error) from None


def describe(error: BaseException) -> str:
    """Write an exception as one line: its type, the first line of its message, and the user's line that raised it."""
    lines = str(error).strip().splitlines()
    text = type(error).__name__ + (f": {lines[0]}" if lines else "")
    place = _place(error)
    return f"{text} ({place})" if place else text


def _told(what: str, error: Exception) -> StepError:
    return StepError(Diagnostic("X108", f"{what} raised {describe(error)}", help="mend the recipe's own code"))


def _place(error: BaseException) -> str:
    territory = Territory(Path.cwd())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith("<") and territory.owns(frame.filename)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
