"""Say what a failure of torch in the middle of a training means."""

from titrant.runtime.user_code import describe, said_by
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line


def training_failed(error: RuntimeError) -> StepError:
    """Return the error of a step: X218 for an operation that does not repeat its result, else X221."""
    text = first_line(error)
    if "deterministic" in text:
        return StepError(
            Diagnostic(
                "X218",
                f"the model uses an operation that does not repeat its result: {text}",
                help="replace the operation, or set reproducibility.deterministic to false",
            )
        )
    advice = "take a step with such a batch outside titrant, and mend the model there"
    return StepError(Diagnostic("X221", f"training failed: {describe(error)}", help=advice, said=said_by(error)))
