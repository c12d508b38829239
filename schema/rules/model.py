"""Rules of the `model` section."""

from collections.abc import Iterator

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.recipe.model import MODEL_SOURCES
from titrant.schema.rules.draft import Draft

# Files that hold their own weights and cannot be trained.
_FILES = ("onnx", "torchscript", "exported")


def one_model(draft: Draft) -> Iterator[Diagnostic]:
    """Exactly one key says what the model is."""
    given = [key for key in MODEL_SOURCES if getattr(draft.model, key) is not None]
    choice = ", ".join(f"`{key}`" for key in MODEL_SOURCES)
    if not given:
        yield draft.key("R021", "`model` does not say which model", ("model",), f"give it one of {choice}")
    for key in given[1:]:
        message = f"`{given[0]}` already says which model, and here stands `{key}`"
        yield draft.key("R021", message, ("model", key), f"keep one of {choice}")


def _only(draft: Draft) -> str | None:
    """Return the one key that says what the model is; None where there are none or several."""
    given = [key for key in MODEL_SOURCES if getattr(draft.model, key) is not None]
    return given[0] if len(given) == 1 else None


def weights_fit(draft: Draft) -> Iterator[Diagnostic]:
    """A file brings its own weights and arguments."""
    kind = _only(draft)
    if kind not in _FILES:
        return
    for key in ("weights", "args"):
        if key in draft.model.model_fields_set and getattr(draft.model, key) != "included":
            message = f"`model.{kind}` is a whole model, and `{key}` has nothing to act on"
            yield draft.key("R022", message, ("model", key), f"take `{key}` out, or build the model with `factory`")


def trained_or_weighted(draft: Draft) -> Iterator[Diagnostic]:
    """A factory without weights must be trained, and a file cannot be."""
    model, train = draft.model, draft.get("train")
    kind = _only(draft)
    if kind == "factory" and model.weights is None and train is None:
        message = "this model has neither weights nor training"
        advice = "add `weights:` (a file, or `included` if the factory loads its own), or a `train:` section"
        yield draft.key("R022", message, ("model", "factory"), advice)
    if kind in _FILES and train is not None:
        message = f"a model from `{kind}` cannot be trained"
        yield draft.key("R022", message, ("train",), "take `train` out, or build the model with `factory`")


def four_bits(draft: Draft) -> Iterator[Diagnostic]:
    """Four bits are refused where the medical safeguards hold."""
    level, preserve, quantization = draft.get("level"), draft.get("preserve"), draft.get("quantization")
    reason = "`level: medical_critical`" if level == "medical_critical" else "`preserve: medical`"
    if level != "medical_critical" and preserve != "medical":
        return
    if quantization.bits == 4:
        message = f"4 bits are refused under {reason}"
        yield draft.value("R022", message, ("quantization", "bits"), "write 8 or 16, or choose another level")
    elif quantization.method in ("bnb.nf4", "bnb.fp4", "torchao.int4"):
        message = f"`{quantization.method}` holds weights in 4 bits, which are refused under {reason}"
        yield draft.value("R022", message, ("quantization", "method"), "choose an 8-bit method, or another level")


RULES = (one_model, weights_fit, trained_or_weighted, four_bits)
