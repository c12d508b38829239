"""Find the order of the classes in which a model's outputs fit the labels best, for a recipe that states none."""

import numpy as np

from titrant.runtime.values import Rows
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class ClassOrders:
    """The order of the classes that was assumed, and the one that fits best, with their accuracies on `rows` rows.

    The class that stands first belongs to the model's first output.
    """

    given: tuple[str, ...]
    best: tuple[str, ...]
    given_accuracy: float
    best_accuracy: float
    rows: int


def compare_orders(scores: np.ndarray, rows: Rows) -> ClassOrders:
    """Assign classes to the columns of scores (rows, classes) so that most labels are met.

    The labels are counted by the column with the largest score; a maximal assignment of this table is the best order
    (Kuhn, "The Hungarian method for the assignment problem", 1955). Of orders that fit alike the one that leaves more
    classes where they are is taken.
    """
    from scipy.optimize import linear_sum_assignment

    assert rows.labels is not None
    count = len(rows.classes)
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (rows.labels, scores.argmax(axis=1)), 1)
    weighted = table * (count + 1) + np.eye(count, dtype=np.int64)
    classes, columns = linear_sum_assignment(weighted, maximize=True)
    by_column = classes[np.argsort(columns)]
    met = int(table[by_column, np.arange(count)].sum())
    return ClassOrders(
        given=rows.classes,
        best=tuple(rows.classes[index] for index in by_column),
        given_accuracy=float(np.trace(table) / len(rows)),
        best_accuracy=met / len(rows),
        rows=len(rows),
    )


def order_words(classes: tuple[str, ...], most: int = 10) -> str:
    """Write an order as a recipe does, `[good, bad]`; only the first ones of many."""
    from titrant.schema.language.write import flow

    return flow([*classes[:most], *(["…"] if len(classes) > most else [])])


def order_line(classes: tuple[str, ...]) -> str:
    """Write the line of a recipe that states an order, all of it."""
    from titrant.schema.language.write import flow

    return f"data: {flow({'classes': list(classes)})}"
