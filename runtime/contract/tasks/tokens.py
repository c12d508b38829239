"""Keep of a language model's answers what judges them, batch by batch: all their numbers would fill the memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from titrant.runtime.contract.tasks.cases import misfit
from titrant.runtime.data.classes import NOT_JUDGED
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.recipe.tasks import CLASSIFYING, OutputKind

if TYPE_CHECKING:
    from titrant.runtime.backends.session import Session

# What a session takes beside the model's inputs: the tokens to judge by, and those of another document.
_TARGETS, _OTHERS = "titrant.targets", "titrant.others"
# What is kept of an answer to each position, in the last dimension of the output.
_LIKELIHOOD, _OTHERS_LIKELIHOOD, _TOKEN, _VOCABULARY = range(4)


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
    def read(cls, kept: np.ndarray) -> Self:
        """Read what a `TokenSession` kept, (documents, length, 4); StepError X420 for anything else."""
        if kept.ndim != 3 or kept.shape[-1] != _VOCABULARY + 1:
            raise misfit(f"an output of shape {kept.shape} is no score of tokens")
        vocabulary = int(kept[..., _VOCABULARY].max(initial=1))
        tokens = kept[..., _TOKEN].astype(np.int64)
        return cls(kept[..., _LIKELIHOOD], kept[..., _OTHERS_LIKELIHOOD], tokens, vocabulary)

    @property
    def judged(self) -> np.ndarray:
        """Which positions are judged, (documents, length) bool."""
        judged: np.ndarray = self.tokens >= 0
        return judged


class TokenSession:
    """Runs a session of a language model and keeps what the judged output says of each position's token.

    It takes two arrays more than the model, which `with_tokens` adds to the rows. `output` is the judged one, "" the
    first; `contradiction` says what in answers (tokens, vocabulary) cannot be of a kind, "" where nothing does.
    """

    # Logarithms are sums of many numbers, which 32 bits would round.
    precision = np.float64

    def __init__(
        self, session: "Session", output: str, kind: OutputKind, contradiction: Callable[[OutputKind, np.ndarray], str]
    ) -> None:
        self.input_names: tuple[str, ...] = (*session.input_names, _TARGETS, _OTHERS)
        self.output_names: tuple[str, ...] = (output or session.output_names[0],)
        self.fixed_batch = session.fixed_batch
        self._session, self._kind, self._contradiction = session, kind, contradiction

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, the judged output → (batch, length, 4) out.

        Raises StepError X656 where the output has no number for each token of each position, X420 where it is not of
        its kind.
        """
        own = dict(inputs)
        targets, others = own.pop(_TARGETS), own.pop(_OTHERS)
        outputs = self._session.run(own)
        (name,) = self.output_names
        if name not in outputs:
            raise misfit(f"there is no output '{name}'; there are: {', '.join(outputs)}")
        values = outputs[name]
        _check(name, self._kind, values, targets)
        answers = values[targets != NOT_JUDGED]
        problem = self._contradiction(self._kind, answers) if len(answers) and np.isfinite(answers).all() else ""
        if problem and not (self._kind == "logits" and _normalized(answers)):
            raise misfit(f"the output '{name}' is read as {self._kind}, which its answers are not: {problem}")
        return {name: kept_of(self._kind, values, targets, others)}

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def kept_of(kind: OutputKind, values: np.ndarray, targets: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return what is kept of an output (batch, length, vocabulary): see `TokenScores`; (batch, length, 4) float64.

    `targets` are the tokens to judge by, `others` those of another document, both (batch, length).
    """
    judged = targets != NOT_JUDGED
    # Of padding nothing is looked at, where an attention without a token to attend to may give NaN.
    answers = values[judged].astype(np.float64)
    kept = np.zeros((*targets.shape, _VOCABULARY + 1))
    kept[..., _TOKEN], kept[..., _VOCABULARY] = -1, values.shape[-1]
    kept[judged, _TOKEN] = answers.argmax(axis=1)
    scale = _log_normalizer(kind, answers)
    for place, given in ((_LIKELIHOOD, targets), (_OTHERS_LIKELIHOOD, others)):
        asked: np.ndarray = given[judged][:, None]
        chosen: np.ndarray = np.take_along_axis(answers, asked, axis=1)[:, 0]
        with np.errstate(divide="ignore"):
            kept[judged, place] = (np.log(chosen) if kind == "probabilities" else chosen) - scale
    return kept


def _log_normalizer(kind: OutputKind, answers: np.ndarray) -> np.ndarray | float:
    if kind != "logits":
        return 0.0
    highest = answers.max(axis=1, initial=-np.inf)
    total: np.ndarray = highest + np.log(np.exp(answers - highest[:, None]).sum(axis=1))
    return total


def _normalized(answers: np.ndarray) -> bool:
    """Whether logits are logarithms of probabilities already, which a softmax leaves as they are."""
    return bool(np.abs(np.exp(answers.astype(np.float64)).sum(axis=1) - 1).max() < 1e-3)


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


def same_tokens(original: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Say for each document whether both models find the same tokens likeliest wherever one is judged; (rows,) bool.

    Both are what a `TokenSession` kept.
    """
    old, new = TokenScores.read(original).tokens, TokenScores.read(candidate).tokens
    if old.shape != new.shape:
        raise misfit(f"the candidate's tokens have shape {new.shape} instead of {old.shape}")
    alike: np.ndarray = (old == new).all(axis=1)
    return alike


def likelihoods(kept: np.ndarray) -> np.ndarray:
    """Return the log-likelihoods (rows, length) of what was kept (rows, length, 4).

    Of the rest a likeliest token jumps where two are nearly as likely.
    """
    return kept[..., _LIKELIHOOD]
