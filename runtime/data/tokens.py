"""Read what a language model is to answer: the token of each position, from the label or the next of the input."""

from collections.abc import Mapping

import numpy as np

from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError

# What stands for a position that is not judged, such as padding.
NOT_JUDGED = -100
# The input that says which tokens are padding (0), and those that hold no tokens.
MASK = "attention_mask"
_ABOUT = (MASK, "token_type_ids", "position_ids")
_NAMED = "input_ids"


def token_targets(inputs: Mapping[str, np.ndarray], label: np.ndarray | None, name: str) -> np.ndarray:
    """Return the token that each position is to give, (rows, length) int64, -100 where none is judged.

    With a label, (rows, length), these are its numbers. Without one a position is to give the next token of the input,
    the last none; where the input `attention_mask` is 0 a token is padding, and no position is to give it. Raises
    PreconditionError X653 where no input holds the tokens, X654 where the label does not fit them, X655 for a document
    without any token to give.
    """
    if label is None:
        tokens, held = _input_tokens(inputs)
        targets = np.full(tokens.shape, NOT_JUDGED, np.int64)
        targets[:, :-1] = tokens[:, 1:]
        mask = inputs.get(MASK)
        if mask is not None:
            if mask.shape != tokens.shape:
                raise _unfit(f"the input {MASK} has shape {mask.shape}, and {held} has {tokens.shape}", MASK)
            targets[:, :-1][mask[:, 1:] == 0] = NOT_JUDGED
    else:
        targets = _label_tokens(inputs, label, name)
    _check_documents(targets)
    return targets


def _input_tokens(inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Return the input that holds tokens, (rows, length), and its name."""
    held = {
        name: array
        for name, array in inputs.items()
        if array.ndim == 2 and array.dtype.kind in "iu" and name not in _ABOUT
    }
    chosen = _NAMED if _NAMED in held else next(iter(held), "")
    if not held or (len(held) > 1 and chosen != _NAMED):
        shapes = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in inputs.items())
        what = "none" if not held else "several"
        raise PreconditionError(
            Diagnostic(
                "X653",
                f"the next tokens of the input are what a language model is to give, and {what} of the inputs holds "
                f"tokens, an array (rows, length) of whole numbers: {shapes}",
                help=f"call it {_NAMED}, or name an array (rows, length) of the tokens to give in data.label",
            )
        )
    return held[chosen], chosen


def _label_tokens(inputs: Mapping[str, np.ndarray], label: np.ndarray, name: str) -> np.ndarray:
    if label.dtype.kind not in "iuf" or label.ndim != 2:
        shape = f"{label.dtype} of shape {label.shape}"
        raise _unfit(f"the label {name} is {shape}, and an array (rows, length) of token numbers is needed", name)
    if not np.isfinite(label).all() or (label != np.floor(label)).any():
        raise _unfit(f"the label {name} holds numbers that are no whole ones", name)
    targets = label.astype(np.int64)
    if (wrong := (targets < 0) & (targets != NOT_JUDGED)).any():
        message = f"the label {name} holds {int(targets[wrong][0])}: a token is 0 or more, and {NOT_JUDGED} is none"
        raise _unfit(message, name)
    judged = targets != NOT_JUDGED
    for other, array in inputs.items():
        whole = array.shape == targets.shape and array.dtype.kind in "iu" and judged.any()
        if whole and len(targets) > 1 and (array[judged] == targets[judged]).all():
            message = (
                f"the label {name} is the input {other} itself: each position would be asked for the token that it is "
                "given, not for the next one"
            )
            raise PreconditionError(
                Diagnostic("X654", message, help="leave data.label out: the next tokens of the input are judged then")
            )
    return targets


def _check_documents(targets: np.ndarray) -> None:
    empty = ~(targets != NOT_JUDGED).any(axis=1)
    if empty.any():
        raise PreconditionError(
            Diagnostic(
                "X655",
                f"{int(empty.sum()):,} of {len(targets):,} documents have no token to give, such as row "
                f"{int(np.flatnonzero(empty)[0])}: they are one token long, or nothing but padding",
                help="leave them out of the data",
            )
        )


def _unfit(message: str, name: str) -> PreconditionError:
    return PreconditionError(
        Diagnostic("X654", message, help=f"give {name} as the tokens that each position is to give, (rows, length)")
    )
