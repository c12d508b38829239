"""Token against token: the log-likelihood of each document, and the tokens that both models find likeliest."""

import math
from dataclasses import replace
from typing import Self

import numpy as np

from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, misfit
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.contract.tasks.tokens import TokenScores
from titrant.runtime.data.classes import NOT_JUDGED
from titrant.runtime.values import Rows

# What a document that was not seen is taken to cost at most, a token, as a multiple of what guessing costs: the
# logarithm of the vocabulary.
WORST = 2.0


class LanguageAnswers(CaseAnswers):
    """Two models' answers to documents; a case is a document, which counts by its judged tokens.

    Perplexity is the exponential of the mean negative log-likelihood of a token. No bound holds for log-likelihoods
    that may be anything: a document that was not seen is taken to cost no more than twice the logarithm of the
    vocabulary a token, or the most of any document that was seen.
    """

    task = "language_modeling"

    def __init__(self, rows: Rows, original: TokenScores, candidate: TokenScores) -> None:
        super().__init__(rows)
        self._original, self._candidate = original, candidate
        self._counts = original.judged.sum(axis=1)

    @classmethod
    def read(cls, rows: Rows, output: JudgedOutput) -> Self:
        """Read what was kept of both models' answers; StepError X420 where they do not fit each other."""
        old, new = TokenScores.read(output.original), TokenScores.read(output.candidate)
        if not np.array_equal(old.judged, new.judged):
            raise misfit(f"the candidate answers {new.judged.sum():,} tokens, and the original {old.judged.sum():,}")
        if old.vocabulary != new.vocabulary:
            raise misfit(f"the candidate tells {new.vocabulary} tokens apart, and the original {old.vocabulary}")
        return cls(rows, old, new)

    def scores(self, metric: str, chosen: np.ndarray, class_name: str = "") -> CaseScores:
        """Return what documents cost a token in nats, gain on the unigram distribution, or keep of the tokens."""
        if class_name:
            raise Unassessable("documents have no classes")
        counts = self._counts[chosen]
        if metric == "token_agreement":
            alike = ((self._original.tokens == self._candidate.tokens) & self._original.judged)[chosen].sum(axis=1)
            old, new, low, high = np.ones(len(chosen)), alike / counts, 0.0, 1.0
        else:
            costs = [_costs(scores)[chosen] for scores in (self._original, self._candidate)]
            old, new, low, high = *costs, 0.0, self._furthest
            if metric == "over_unigram":
                constant = _unigram(self.rows, self._original.vocabulary)
                own = self._of_constant(constant)[chosen]
                old, new, low, high = own - old, own - new, -high, float(-constant.min())
        # As shares of the longest document that there can be, so that none that was not seen counts for more.
        weights = counts / self._original.tokens.shape[1]
        return CaseScores(metric, old, new, self.rows.units[chosen], low, high, weights=weights)

    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the tokens to give (documents, length), and of both models the likeliest and what the given ones cost.

        (documents, length, 2) float64 each: the likeliest token, -1 where none is judged, and the log-likelihood of the
        one to give, 0 there.
        """
        old, new = (
            np.stack([scores.tokens.astype(np.float64), scores.log_likelihood], axis=-1)
            for scores in (self._original, self._candidate)
        )
        return _targets(self.rows), old, new

    @property
    def _furthest(self) -> float:
        """The most that a document is taken to cost a token."""
        seen = max(float(_costs(scores).max(initial=0.0)) for scores in (self._original, self._candidate))
        return max(seen, WORST * math.log(max(self._original.vocabulary, 2)))

    def _of_constant(self, logarithms: np.ndarray) -> np.ndarray:
        """Return what each document costs a token, where each position is answered by one distribution."""
        costs = np.where(self._original.judged, -logarithms[self._tokens], 0.0).sum(axis=1) / self._counts
        answer: np.ndarray = costs
        return answer

    @property
    def _tokens(self) -> np.ndarray:
        """The tokens to give, (documents, length); 0 where none is judged."""
        tokens = _targets(self.rows)
        return np.where(tokens == NOT_JUDGED, 0, tokens)

    def permuted(self, order: np.ndarray) -> "LanguageAnswers":
        """Judge each document's answers by the tokens of another document.

        Which one is not up to `order`, unless every document keeps its own.
        """
        if np.array_equal(order, np.arange(len(self.rows))):
            return LanguageAnswers(self.rows, self._original, self._original)
        tokens = np.where(self._original.judged, np.maximum(self._original.tokens[order], 0), -1)
        others = replace(self._original, log_likelihood=self._original.others_likelihood, tokens=tokens)
        return LanguageAnswers(self.rows, self._original, others)

    def broken(self, rows: np.ndarray, class_name: str = "") -> "LanguageAnswers":  # noqa: ARG002 - a case is broken whole
        """Let some documents cost the most that any is taken to cost, and give no token that the original gives."""
        old = self._original
        worst = np.where(rows[:, None] & old.judged, -self._furthest, old.log_likelihood)
        tokens = np.where(rows[:, None] & old.judged, (old.tokens + 1) % max(old.vocabulary, 2), old.tokens)
        return LanguageAnswers(self.rows, old, replace(old, log_likelihood=worst, tokens=tokens))

    def constant(self) -> "tuple[LanguageAnswers, str]":
        """Answer every position with the share that each token has of these documents."""
        old = self._original
        logarithms = _unigram(self.rows, old.vocabulary)
        likelihoods = np.where(old.judged, logarithms[self._tokens], 0.0)
        tokens = np.where(old.judged, int(logarithms.argmax()), -1)
        constant = replace(old, log_likelihood=likelihoods, tokens=tokens)
        return LanguageAnswers(self.rows, old, constant), "each token by its share"

    @property
    def identical(self) -> bool:
        """Whether both models give the same log-likelihoods and tokens."""
        old, new = self._original, self._candidate
        return np.array_equal(old.log_likelihood, new.log_likelihood) and np.array_equal(old.tokens, new.tokens)


def _costs(scores: TokenScores) -> np.ndarray:
    """Return the mean negative log-likelihood of a document's tokens, (documents,) in nats."""
    costs: np.ndarray = -scores.log_likelihood.sum(axis=1) / scores.judged.sum(axis=1)
    return costs


def _targets(rows: Rows) -> np.ndarray:
    if rows.targets is None:
        raise Unassessable("there are no tokens to judge by")
    return rows.targets


def _unigram(rows: Rows, vocabulary: int) -> np.ndarray:
    """Return the logarithm of each token's share of the judged ones, (vocabulary,), each counted once more (Laplace).

    Without that a few tokens would fit themselves, and a token that was not seen would cost an infinity.
    """
    targets = _targets(rows)
    counts = np.bincount(targets[targets != NOT_JUDGED], minlength=vocabulary) + 1.0
    logarithms: np.ndarray = np.log(counts / counts.sum())
    return logarithms
