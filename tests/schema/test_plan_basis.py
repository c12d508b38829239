"""How sure figures are reads as a few words."""

from titrant.schema.plan import Prediction, basis_words


def test_names_one_basis_where_all_figures_have_it_and_the_others_otherwise():
    assert basis_words(Prediction()) == ""
    assert basis_words(Prediction(1.0, 5, 7, "modelled")) == "modelled"
    mixed = Prediction(1.0, 5, 7, "modelled", {"output_bytes": "counted"})
    assert basis_words(mixed) == "modelled, output counted"


def test_says_nothing_of_a_figure_that_is_unknown():
    assert basis_words(Prediction(None, 5, None, "guess", {"seconds": "measured"})) == "guess"
