"""What a plan and a report say of the chance that all gates pass together."""

from dataclasses import replace

from titrant.schema.gate import Gate
from titrant.schema.power import JointPower, came_words, power_words

KEPT = Gate("safety.kept", "safety", "kept", "class ill", "at_least", 0.98, "exact_binomial", "x", available_cases=200)
POWER = JointPower(
    0.712, 0.014, 4000, {"retention": 0.95, "safety.kept": 0.78}, "safety.kept", 412, "ill rows", ("size",), "digest"
)


def test_names_the_gate_that_costs_most_and_the_rows_that_would_help():
    words = power_words(POWER, (KEPT,))
    assert words.startswith("all gates together pass a faithful candidate with 71 % (± 1) at these rows; the costliest")
    assert "safety.kept (78 %), 412 more ill rows would make 90 %" in words
    assert words.endswith("half of them for the worse; 1 gate not in it")


def test_tells_no_rows_of_a_group_too_small_to_show():
    assert "412" not in power_words(POWER, (replace(KEPT, available_cases=3),), 5)
    assert "412" in power_words(POWER, (replace(KEPT, available_cases=3),), 1)


def test_says_that_it_is_not_known_yet():
    assert "(known after" in power_words(None, (KEPT,))


def test_says_nothing_where_no_gate_is_about_answers():
    assert power_words(JointPower(None, left_out=("size",)), ()) == ""
    assert came_words(JointPower(None), {"size": True}) == ""
    assert came_words(None, {"safety.kept": True}) == ""


def test_puts_what_came_beside_what_was_predicted():
    assert came_words(POWER, {"retention": True, "safety.kept": False, "size": True}).endswith(
        "71 % at these rows; of this candidate 1 of 2 passed."
    )
    assert came_words(POWER, {"retention": True, "safety.kept": True}).endswith("of this candidate all 2 passed.")
