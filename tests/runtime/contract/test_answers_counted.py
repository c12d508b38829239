"""Changed decisions, counted."""

import numpy as np

from titrant.runtime.contract.answers import count_answers
from titrant.runtime.report.page.classes import class_changes

LABELS = np.array([0, 0, 0, 1, 1, 2])
ORIGINAL = np.array([0, 0, 1, 1, 1, 0])
CANDIDATE = np.array([0, 1, 0, 1, 0, 1])


def test_counts_what_was_gained_and_lost_by_class():
    answers = count_answers(("a", "b", "c"), LABELS, ORIGINAL, CANDIDATE)
    assert (answers.gained, answers.lost) == ((1, 0, 0), (1, 1, 0))
    assert answers.original == ((0, 0, 2), (0, 1, 1), (1, 1, 2), (2, 0, 1))


def test_says_what_the_changes_came_to():
    changes = class_changes("x", count_answers(("a", "b", "c"), LABELS, ORIGINAL, CANDIDATE), 1)
    assert changes.sentence == (
        "The models decide 4 of 6 evaluation cases differently: 1 became right, 2 became wrong, "
        "1 changed from one wrong decision to another."
    )
    assert [(row.cases, row.before, row.after) for row in changes.rows] == [
        ("3", "2", "2"),
        ("2", "2", "1"),
        ("1", "0", "0"),
    ]


def test_shows_what_moved_where_nobody_knows_the_truth():
    changes = class_changes("x", count_answers(("a", "b"), None, np.array([0, 1, 1]), np.array([0, 1, 0])), 1)
    assert [matrix.cells for matrix in changes.matrices] == [(("1", "0"), ("1", "1"))]
    assert changes.rows == ()
    assert "nobody can say" in changes.sentence


def test_shows_only_the_most_changed_of_many_classes():
    labels = np.arange(100)
    changes = class_changes(
        "x", count_answers(tuple(map(str, labels)), labels, labels, np.where(labels == 77, 0, labels)), 1
    )
    assert (changes.rows[0].name, changes.rows[0].lost) == ("77", "1")
    assert (len(changes.rows), changes.hidden, changes.matrices) == (24, 76, ())
