"""Remove the blocks whose removal alone moves a network's answers least."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import answer_rows, check_rows, open_session, taken
from titrant.runtime.backends.torch.call import call, example_arrays
from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention
from titrant.runtime.backends.torch.reduced.blocks import Block, stand_in, watched
from titrant.runtime.backends.torch.reduced.norms import estimate_norms, norms_kept
from titrant.runtime.catalog import Context
from titrant.runtime.contract.reading import Reading
from titrant.runtime.mixture.damage import damage, spread
from titrant.runtime.user_code import describe
from titrant.runtime.values import Outputs, Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import StepError

# Rows answered at once, and parts of the rows that tell by how much a figure varies.
_BATCH, _PARTS = 64, 16
# Standard errors within which two blocks cost the same.
_ERRORS = 2


@dataclass
class Removal:
    """What was measured: KL by block alone, the removed ones with the KL after each, and why others must stay."""

    alone: dict[str, float] = field(default_factory=dict)
    removed: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def removable(model: TorchModel, rows: Rows) -> tuple[Block, ...]:
    """Return the blocks that an identity can stand for, seen while the module answers two rows."""
    arrays = example_arrays(model, rows, 2)
    with torch.inference_mode(), plain_attention(), watched(model.module.eval()) as seen:
        call(model.module, arrays)
    return seen.blocks()


def without(module: torch.nn.Module, forms: Mapping[str, Mapping[str, Any]]) -> torch.nn.Module:
    """Put a stand-in for each named block into a module, in place."""
    for name, form in forms.items():
        module.set_submodule(name, stand_in(form))
    return module


def read_by(rows: Rows) -> Reading:
    """Say how outputs are read where nobody did: as logits of the rows' classes, as plain values without labels."""
    if rows.labels is None or not rows.classes:
        return Reading(task="unlabeled")
    return Reading(task="binary_classification" if len(rows.classes) == 2 else "multiclass_classification")


class Remover:
    """Measures on some rows how far a model's answers move when blocks are gone; the model stays as it is."""

    def __init__(self, model: TorchModel, rows: Rows, most: int, reading: Reading | None, context: Context) -> None:
        """At most `most` rows are answered, at even distances."""
        check_rows(rows)
        self.rows = rows.some(spread(len(rows), most))
        self._reading = reading or read_by(rows)
        self._context = context
        self._model = replace(model, module=copy.deepcopy(model.module).eval())
        self._original = self._answers()

    def cheapest(self, blocks: Sequence[Block], count: int | None, parameters: int) -> Removal:
        """Remove `count` blocks, or as many as hold at most `parameters` together and one at least.

        Blocks go in the order of what each does alone. What is measured after others are gone is no better a guide: a
        removal that makes every answer uncertain hides what the next one does, and costs accuracy.
        """
        removal = Removal()
        parts: dict[str, np.ndarray] = {}
        for place, block in enumerate(blocks):
            self._context.progress(place, len(blocks), block.name)
            if (moved := self._moved(block, removal)) is not None:
                removal.alone[block.name], parts[block.name] = moved
        able = ordered([block for block in blocks if block.name in parts], removal.alone, parts)
        for block in able[:count] if count is not None else _within(able, parameters):
            if (moved := self._moved(block, removal)) is not None:
                removal.removed[block.name] = moved[0]
                self._model.module.set_submodule(block.name, stand_in(block.form()))
        return removal

    def _moved(self, block: Block, removal: Removal) -> tuple[float, np.ndarray] | None:
        """Return how far the answers move without one more block, on all rows and on parts of them.

        None, with the reason kept, where there are no answers.
        """
        part = self._model.module.get_submodule(block.name)
        self._model.module.set_submodule(block.name, stand_in(block.form()))
        try:
            with norms_kept(self._model.module), self._settings():
                estimate_norms(self._model, self.rows)
                answers = self._answers()
            every = np.arange(len(self.rows))
            count = min(_PARTS, len(every))
            parts = [self._damage(answers, every[first::count]) for first in range(count)]
            return self._damage(answers, every), np.array(parts)
        except StepError as error:
            removal.refused[block.name] = error.diagnostics[0].message
        except (AttributeError, KeyError, AssertionError) as error:  # others look into the block
            removal.refused[block.name] = f"the model cannot do without it: {describe(error)}"
        finally:
            self._model.module.set_submodule(block.name, part)
        return None

    def _damage(self, answers: Outputs, places: np.ndarray) -> float:
        before, after = (
            Outputs(outputs.role, {name: array[places] for name, array in outputs.arrays.items()})
            for outputs in (self._original, answers)
        )
        return damage(self._reading, self.rows.some(places), before, after)

    @contextmanager
    def _settings(self) -> Iterator[None]:
        with fixed_settings(self._context.threads, self._context.seed), plain_attention():
            yield

    def estimate(self, model: TorchModel) -> None:
        """Give the batch norms of what is left, in place, the mean and variance of what the rows bring to them."""
        with self._settings():
            estimate_norms(model, self.rows)

    def _answers(self) -> Outputs:
        with self._settings(), open_session("torch", self._model, threads=self._context.threads) as session:
            inputs = {name: taken(self.rows, name) for name in session.input_names}
            return Outputs(self.rows.role, answer_rows(session, inputs, len(self.rows), _BATCH))


def ordered(blocks: Sequence[Block], cost: Mapping[str, float], parts: Mapping[str, np.ndarray]) -> list[Block]:
    """Order blocks by what their removal costs; of those whose costs cannot be told apart the smallest goes first.

    `parts` are the costs on equal parts of the rows. Two are told apart where their mean difference is beyond two of
    its standard errors. What holds less is learned again more easily.
    """
    left, order = list(blocks), list[Block]()
    while left:
        cheapest = min(left, key=lambda block: cost[block.name])
        alike = [block for block in left if _alike(parts[block.name] - parts[cheapest.name])]
        chosen = min(alike, key=lambda block: (block.parameters, cost[block.name]))
        order.append(chosen)
        left.remove(chosen)
    return order


def _alike(differences: np.ndarray) -> bool:
    """Whether paired differences, one a part of the rows, leave open which of two costs more; equal ones do."""
    if len(differences) < 2:
        return not differences.any()
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return abs(float(differences.mean())) <= _ERRORS * error


def _within(blocks: Sequence[Block], room: int) -> list[Block]:
    """Take each block, in order, that there is still room for; where there is none for any, the smallest."""
    chosen: list[Block] = []
    for block in blocks:
        if block.parameters <= room:
            chosen.append(block)
            room -= block.parameters
    return chosen or sorted(blocks, key=lambda block: block.parameters)[:1]
