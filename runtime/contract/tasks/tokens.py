"""Keep of a language model's answers what judges them, batch by batch: all their numbers would fill the memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from titrant.runtime.contract.output_kinds import contradiction
from titrant.runtime.contract.reading import TokenReading
from titrant.runtime.contract.tasks.outputs import misfit
from titrant.runtime.data.tokens import NOT_JUDGED
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.recipe.model import CLASSIFYING, OutputKind

if TYPE_CHECKING:
    from titrant.runtime.backends.session import Session

# What a session takes beside the model's inputs: the tokens to judge by, and those of another document.
_TARGETS, _OTHERS = "titrant.targets", "titrant.others"
# What is kept of an answer, by its name in the outputs.
LOG_LIKELIHOOD, OTHERS_LIKELIHOOD, TOKENS, VOCABULARY = (
    "log_likelihood",
    "others_likelihood",
    "tokens",
    "vocabulary",
)


@dataclass(frozen=True)
class TokenScores:
    """One model's answers to documents.

    `log_likelihood` (documents, length) is that of the token that each position is to give, in nats, 0 where none is
    judged, `others_likelihood` that of a token of another document; `tokens` (documents, length) int64 are the
    likeliest ones, -1 where none is judged. `vocabulary` counts the tokens that the model tells apart.
    """

    log_likelihood: np.ndarray
    others_likelihood: np.ndarray
    tokens: np.ndarray
    vocabulary: int

    @classmethod
    def read(cls, outputs: Outputs) -> Self:
        """Read what a `TokenSession` answered; StepError X420 for outputs of anything else."""
        arrays = outputs.arrays
        if set(arrays) != {LOG_LIKELIHOOD, OTHERS_LIKELIHOOD, TOKENS, VOCABULARY}:
            raise misfit(f"the outputs {', '.join(arrays)} are no scores of tokens")
        return cls(
            arrays[LOG_LIKELIHOOD].astype(np.float64), arrays[OTHERS_LIKELIHOOD].astype(np.float64),
            arrays[TOKENS].astype(np.int64), int(arrays[VOCABULARY].max(initial=1)),
        )  # fmt: skip

    @property
    def judged(self) -> np.ndarray:
        """Which positions are judged, (documents, length) bool."""
        judged: np.ndarray = self.tokens >= 0
        return judged


class TokenSession:
    """Runs a session of a language model and keeps what the judged output says of each position's token.

    It takes two arrays more than the model, which `with_tokens` adds to the rows.
    """

    # Logarithms are sums of many numbers, which 32 bits would round.
    precision = np.float64

    def __init__(self, session: "Session", reading: TokenReading) -> None:
        self.input_names: tuple[str, ...] = (*session.input_names, _TARGETS, _OTHERS)
        self.output_names: tuple[str, ...] = (LOG_LIKELIHOOD, OTHERS_LIKELIHOOD, TOKENS, VOCABULARY)
        self.fixed_batch = session.fixed_batch
        self._session, self._reading = session, reading

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, what is kept out.

        Raises StepError X656 where the output has no number for each token of each position, X420 where it is not of
        its kind.
        """
        own = dict(inputs)
        targets, others = own.pop(_TARGETS), own.pop(_OTHERS)
        outputs = self._session.run(own)
        name = self._reading.output or next(iter(outputs))
        if name not in outputs:
            raise misfit(f"there is no output '{name}'; there are: {', '.join(outputs)}")
        return reduced(name, self._reading.kind, outputs[name], (targets, others))

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reduced(
    name: str, kind: OutputKind, values: np.ndarray, tokens: tuple[np.ndarray, np.ndarray]
) -> dict[str, np.ndarray]:
    """Keep the log-likelihood of given tokens, and the likeliest ones, of an output (batch, length, vocabulary).

    `tokens` are those to judge by and those of another document, each (batch, length). Raises as `TokenSession.run`.
    """
    targets, others = tokens
    _check(name, kind, values, targets)
    judged = targets != NOT_JUDGED
    # Of padding nothing is looked at, where an attention without a token to attend to may give NaN.
    answers = values[judged].astype(np.float64)
    problem = contradiction(kind, answers) if len(answers) and np.isfinite(answers).all() else ""
    if problem and not (kind == "logits" and _normalized(answers)):
        raise misfit(f"the output '{name}' is read as {kind}, which its answers are not: {problem}")
    kept = {key: np.zeros(targets.shape) for key in (LOG_LIKELIHOOD, OTHERS_LIKELIHOOD)}
    likeliest = np.full(targets.shape, -1, np.int64)
    scale = _log_normalizer(kind, answers)
    for key, given in ((LOG_LIKELIHOOD, targets), (OTHERS_LIKELIHOOD, others)):
        chosen = np.take_along_axis(answers, given[judged][:, None], axis=1)[:, 0]
        with np.errstate(divide="ignore"):
            kept[key][judged] = (np.log(chosen) if kind == "probabilities" else chosen) - scale
    likeliest[judged] = answers.argmax(axis=1)
    return {**kept, TOKENS: likeliest, VOCABULARY: np.full(len(values), values.shape[-1])}


def _log_normalizer(kind: OutputKind, answers: np.ndarray) -> np.ndarray | float:
    if kind != "logits":
        return 0.0
    highest = answers.max(axis=1, initial=-np.inf)
    total: np.ndarray = highest + np.log(np.exp(answers - highest[:, None]).sum(axis=1))
    return total


def _normalized(answers: np.ndarray) -> bool:
    """Whether logits are logarithms of probabilities already, which a softmax leaves as they are."""
    return bool(np.abs(np.exp(answers).sum(axis=1) - 1).max() < 1e-3)


def _check(name: str, kind: OutputKind, values: np.ndarray, targets: np.ndarray) -> None:
    if kind not in CLASSIFYING:
        raise misfit(f"the output '{name}' is said to hold {kind}, and no token can be told from those")
    if values.ndim != 3 or values.shape[:2] != targets.shape:
        expected = ", ".join(map(str, targets.shape))
        raise _no_tokens(
            f"the output '{name}' has shape {values.shape}, and ({expected}, vocabulary) is needed: an answer for "
            "each position",
            "name the output with the logits in model.output, or return those of all positions from the forward",
        )
    largest = int(targets.max(initial=0))
    if largest >= values.shape[-1]:
        raise _no_tokens(
            f"the data holds the token {largest}, and the output '{name}' tells {values.shape[-1]} tokens apart",
            "take the tokenizer that the model was trained with",
        )


def _no_tokens(message: str, advice: str) -> StepError:
    return StepError(Diagnostic("X656", message, help=advice))


def with_tokens(rows: Rows) -> Rows:
    """Add to the rows what a `TokenSession` takes: the tokens to judge by, and for each document those of another.

    The other one is the same in every run, and another document wherever there are two.
    """
    if rows.targets is None:
        raise misfit(f"the {rows.role} rows have no tokens to judge by")
    targets = rows.targets.astype(np.int64)
    return replace(rows, inputs={**rows.inputs, _TARGETS: targets, _OTHERS: _tokens_of_others(targets)})


def _tokens_of_others(targets: np.ndarray) -> np.ndarray:
    order = np.random.default_rng(0).permutation(len(targets))
    partner = np.empty(len(targets), np.int64)
    partner[order] = np.roll(order, 1)
    others = targets.copy()
    for place, other in enumerate(partner):
        own = targets[place] != NOT_JUDGED
        there = targets[other][targets[other] != NOT_JUDGED]
        if len(there):
            others[place, own] = np.resize(there, int(own.sum()))
    return others


def keeping_tokens(session: "Session", reading: TokenReading | None, rows: Rows) -> tuple[Any, Rows]:
    """Return a session and rows that keep what judges a language model; both as they are for any other task."""
    if reading is None:
        return session, rows
    return TokenSession(session, reading), with_tokens(rows)


def same_tokens(original: Outputs, candidate: Outputs) -> np.ndarray:
    """Say for each document whether both models find the same tokens likeliest wherever one is judged; (rows,) bool."""
    old, new = TokenScores.read(original).tokens, TokenScores.read(candidate).tokens
    if old.shape != new.shape:
        raise misfit(f"the candidate's tokens have shape {new.shape} instead of {old.shape}")
    alike: np.ndarray = (old == new).all(axis=1)
    return alike


def likelihoods(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Return what of kept scores moves with rounding alone: a likeliest token jumps. Other outputs stay as they are."""
    return {LOG_LIKELIHOOD: arrays[LOG_LIKELIHOOD]} if LOG_LIKELIHOOD in arrays and TOKENS in arrays else arrays
