"""Call the recipe's own code and turn what it raises into one line."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from titrant.runtime.execution.user_code import Territory, innermost_line
from titrant.schema.diagnostics import Diagnostic, StepError, TitrantError
from titrant.schema.nearest import nearest


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
        near = nearest(attribute, dir(module))
        raise StepError(
            Diagnostic(
                "X150",
                f"{reference}: {module_name} has no {attribute}",
                help=f"did you mean {near}?" if near else f"define {attribute} in {module_name}",
            )
        )
    return getattr(module, attribute)  # type: ignore[no-any-return]


def call(what: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call the user's function; StepError X108, one line naming `what` and the user's line, when it raises.

    That memory ran out is nothing to mend in the code, and goes on to whoever runs the step.
    """
    try:
        return function(*args, **named)
    except (TitrantError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise _told(what, error) from None


def describe(error: BaseException) -> str:
    """Write an exception as one line: its type, the first line of its message, and the user's line that raised it."""
    lines = str(error).strip().splitlines()
    text = type(error).__name__ + (f": {lines[0]}" if lines else "")
    place = innermost_line(error, Territory(Path.cwd()).owns)
    return f"{text} ({place})" if place else text


def _told(what: str, error: Exception) -> StepError:
    return StepError(Diagnostic("X108", f"{what} raised {describe(error)}", help="mend the recipe's own code"))
