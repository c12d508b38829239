"""Facts are held against the recipe before anything is decided."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import check_facts
from titrant.schema.diagnostics.diagnostics import RecipeError, all_codes
from titrant.schema.facts import Column, LabelLeak, RoleFacts, StandIn, TensorSpec

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)


def findings(text=case.RECIPE, *changes, model=case.MODEL, data=case.DATA):
    with pytest.raises(RecipeError) as caught:
        check_facts(case.bound(text, *changes), model, data)
    found = caught.value.diagnostics
    assert {one.code for one in found} <= set(all_codes())
    return [(one.code, token(one.where), one.message, one.help) for one in found]


def token(where):
    return where.text[where.column - 1 : where.column - 1 + where.width]


def data_with(**changes):
    return replace(case.DATA, **changes)


def evaluation_of(rows):
    return {**case.DATA.roles, "evaluation": rows}


def test_says_nothing_about_what_fits():
    assert check_facts(case.bound(), case.MODEL, case.DATA) == ()
    assert check_facts(case.bound(case.TRAINED), case.DIGITS, case.DIGIT_DATA) == ()
    assert check_facts(case.bound(case.UNLABELED), case.DIGITS, case.RANDOM) == ()


def test_names_the_nearest_column():
    found = findings(case.RECIPE.replace("label: target", "label: tarket").replace("mean radius", "mean radios"))
    assert found == [
        ("R131", "tarket", "the data has no column `tarket`", "did you mean `target`?"),
        ("R131", "mean radios", "the data has no column `mean radios`", "did you mean `mean radius`?"),
    ]


def test_refuses_a_layer_where_parameters_are_named():
    text, name = case.RECIPE + "  watch_gradients: {pattern: PATTERN}\n", case.MODEL.layers[0].name
    text = text.replace("train: {epochs: 3}", "train:\n  epochs: 3")
    found = findings(text.replace("PATTERN", name))
    assert [(code, under, advice) for code, under, _, advice in found] == [("R199", name, f"write `pattern: {name}.*`")]
    assert check_facts(case.bound(text.replace("PATTERN", f"{name}.*")), case.MODEL, case.DATA) == ()


def test_names_the_nearest_class_for_the_critical_one():
    text = case.RECIPE.replace("malignant", "malignat")
    found = findings(text, data=data_with(positive=None))
    assert found == [("R132", "malignat", "`malignat` is not one of the classes", "did you mean `malignant`?")]


def test_refuses_a_single_class_and_too_many_for_a_binary_task():
    assert findings(data=data_with(classes=("benign",)))[0][:2] == ("R134", "target")
    three = replace(case.MODEL, outputs=(TensorSpec("logits", ("batch", 3), "float32"),))
    many = findings(data=data_with(classes=("a", "b", "c"), positive="a"), model=three)
    assert [(code, under) for code, under, _, _ in many] == [("R134", "binary_classification")]


@pytest.mark.parametrize(
    ("shape", "loss", "said"),
    [
        (("batch", 2), "binary_cross_entropy_with_logits", "takes one number a case, and the model gives (batch, 2)"),
        (("batch", 1), "cross_entropy", "takes a number for each class, and the model gives (batch, 1)"),
        (("batch",), "cross_entropy", "takes a number for each class, and the model gives (batch)"),
    ],
)
def test_refuses_a_loss_of_other_outputs(shape, loss, said):
    model = replace(case.MODEL, outputs=(TensorSpec("logits", shape, "float32"),))
    ((code, under, message, _),) = findings(case.RECIPE, f"train.loss={loss}", model=model)
    assert (code, under, message) == ("R190", loss, f"`{loss}` {said}")


def test_takes_the_loss_that_fits_the_outputs():
    one = replace(case.MODEL, outputs=(TensorSpec("logits", ("batch", 1), "float32"),))
    bce = "train.loss=binary_cross_entropy_with_logits"
    assert check_facts(case.bound(case.RECIPE, bce), one, case.DATA) == ()
    assert check_facts(case.bound(case.RECIPE, "train.loss=cross_entropy"), case.MODEL, case.DATA) == ()


def test_names_the_class_that_a_weight_misspells():
    text = case.RECIPE.replace("{epochs: 3}", "{epochs: 3, class_weights: {malignat: 3.0, benign: 1.0}}")
    found = findings(text)
    assert found == [("R193", "malignat", "the label has no class `malignat`", "did you mean `malignant`?")]


def test_names_the_class_that_a_slice_misspells():
    gates = "validation: {gates: [{metric: accuracy, slice: class malign, comparison: at_least, threshold: 0.9}]}\n"
    found = findings(case.RECIPE + gates)
    assert found == [("R133", "class malign", "there is no class `malign`", "did you mean `malignant`?")]


def test_names_the_values_of_a_subgroup_that_a_slice_misses():
    slice_ = '"subgroup size.[12, 14)"'
    gates = f"validation: {{gates: [{{metric: accuracy, slice: {slice_}, comparison: at_least, threshold: 0.9}}]}}\n"
    (found,) = findings(case.RECIPE + gates)
    assert found[0] == "R133"
    assert "size.[12, 14)" in found[2]


def test_refuses_an_empty_evaluation():
    found = findings(data=data_with(roles=evaluation_of(RoleFacts(0, 0))))
    assert found == [
        ("R135", "data", "`evaluation` gets no rows: the data has 569", "give it a larger share, or more data")
    ]


def test_refuses_a_threshold_that_no_tuning_row_can_set():
    text = case.RECIPE + "validation: {operating_point: {sensitivity: 0.99}}\n"
    roles = {**case.DATA.roles, "tuning": RoleFacts(57, 57, {"benign": 57})}
    (found,) = findings(text, data=data_with(roles=roles))
    assert found[:2] == ("R135", "0.99")


def test_warns_of_a_class_that_nothing_is_judged_on():
    rows = RoleFacts(100, 100, {"benign": 100})
    warnings = check_facts(case.bound(), case.MODEL, data_with(roles=evaluation_of(rows)))
    assert warnings == ("no evaluation row is of class `malignant`: gates say nothing about it",)


def test_refuses_inputs_that_the_data_does_not_give():
    wide = replace(case.MODEL, inputs=(TensorSpec("features", ("batch", 31), "float32"),))
    assert findings(model=wide)[0][2] == "the model's input `features` is (batch, 31), and the data gives (batch, 30)"
    named = replace(case.MODEL, inputs=(TensorSpec("x", ("batch", 30), "float32"),))
    assert findings(model=named)[0][2] == "the model takes an input `x`, and the data gives none of that name"
    whole = replace(case.MODEL, inputs=(TensorSpec("features", ("batch", 30), "int64"),))
    assert findings(model=whole)[0][2] == "the model's input `features` is int64, and the data gives float32"


def test_takes_free_sizes_as_they_come():
    free = replace(case.MODEL, inputs=(TensorSpec("features", (1, "features"), "float32"),))
    assert check_facts(case.bound(), free, case.DATA) == ()


def test_refuses_outputs_that_are_not_the_classes():
    ten = replace(case.MODEL, outputs=(TensorSpec("logits", ("batch", 10), "float32"),))
    (found,) = findings(model=ten)
    assert found[:3] == (
        "R137", "auto", "the model's output `logits` is (batch, 10), and 2 classes need (batch, 1) or (batch, 2)"
    )  # fmt: skip


def test_takes_one_number_for_two_classes():
    one = replace(case.MODEL, outputs=(TensorSpec("logit", ("batch", 1), "float32"),))
    assert check_facts(case.bound(), one, case.DATA) == ()


@pytest.mark.parametrize(("scores", "line"), [
    (("probabilities", ("batch", 2)), "model: {output: {name: probabilities, kind: probabilities}}"),
    (("raw", ("batch", 2)), "model: {output: {name: raw}}"),
    (("i1", ("batch",)), "model: {output: {name: i1}}"),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_does_not_take_the_classes_that_a_file_decided_for_scores(scores, line, dtype):
    label, named = TensorSpec("label", ("batch",), dtype), TensorSpec(*scores, "float32")
    both = replace(case.MODEL, outputs=(label, named))
    message = f"the first output `label` is {dtype}: classes that were decided, no scores"
    assert [one[2:] for one in findings(model=both)] == [(message, line)]
    assert [one[2:] for one in findings(case.RECIPE, "model.output={kind: logits}", model=both)] == [(message, line)]
    check_facts(case.bound(case.RECIPE, f"model.output={{name: {named.name}}}"), both, case.DATA)
    check_facts(case.bound(), replace(both, outputs=(label,)), case.DATA)


def test_names_the_outputs_that_there_are():
    text = case.RECIPE.replace("  args:", "  output: {name: logit}\n  args:")
    (found,) = findings(text)
    assert found[0] == "R137"
    assert found[3] == "did you mean `logits`?"


@pytest.mark.parametrize("said", ["measure: same_class", "score: {measure: same_class}"])
def test_refuses_the_same_class_of_one_number(said):
    text = case.UNLABELED + f"validation: {{agreement: {{{said}}}}}\n"
    outputs = (*case.DIGITS.outputs, TensorSpec("score", ("batch", 1), "float32"))
    found = findings(text, model=replace(case.DIGITS, outputs=outputs), data=case.RANDOM)
    message = "`same_class` finds the largest of several numbers, and the output `score` has one: always it"
    assert found == [("R112", "same_class", message, "write `relative`, or `absolute` with a tolerance")]
    if "score" not in said:
        assert check_facts(case.bound(text), case.DIGITS, case.RANDOM) == ()


def test_refuses_gaps_that_nothing_fills():
    columns = (Column("mean radius", "float64", (), 3), *case.COLUMNS[1:])
    (found,) = findings(data=data_with(columns=columns))
    assert found == (
        "R138",
        "transform",
        "values are missing in `mean radius` (3), and nothing fills them",
        "add `- impute` before the other transforms (`impute: {strategy: keep}` for trees trained on gaps), "
        "or leave the columns out of `data.inputs`",
    )
    filled = case.bound(case.RECIPE.replace("[standardize]", "[impute, standardize]"))
    assert check_facts(filled, case.MODEL, data_with(columns=columns)) == ()


def test_does_not_mind_gaps_outside_the_inputs():
    columns = (Column("mean radius", "float64", (), 3), *case.COLUMNS[1:])
    text = case.RECIPE.replace("label: target", "label: target\n  inputs: [mean texture]")
    assert check_facts(case.bound(text), case.MODEL, data_with(columns=columns)) == ()


TWO = replace(case.MODEL, outputs=(TensorSpec("mask", ("batch", 8), "float32"), *case.MODEL.outputs))


def test_refuses_an_output_without_a_name_at_a_place_that_the_model_does_not_have():
    found = findings(case.RECIPE, "model.output=[{kind: logits}, {kind: mask}]")
    assert [one[0] for one in found] == ["R137"]
    assert found[0][2:] == ("the model has no output at place 2", "it has `logits`")


def test_refuses_two_entries_about_one_output():
    found = findings(case.RECIPE, "model.output=[{name: logits}, {kind: logits}]", model=TWO)
    assert found[0][2] == "two entries are about the output `logits`"


def test_warns_of_columns_that_give_the_label_away():
    leaks = tuple(LabelLeak(f"c{place}", "AUROC", 1 - place / 1000, 1234) for place in range(7))
    warnings = check_facts(case.bound(), case.MODEL, data_with(leaks=leaks))
    assert warnings[0] == (
        "`c0` gives the label away alone: AUROC 1.000 on 1,234 train and tuning rows: leave it out of `data.inputs`, "
        "unless it is known before the answer is"
    )
    assert warnings[-1].startswith("2 columns more give the label away alone")
    assert len(warnings) == 6


def test_warns_of_numbers_that_stand_for_missing_ones():
    (warning,) = check_facts(case.bound(), case.MODEL, data_with(stand_ins=(StandIn("age", 999, 12),)))
    assert warning.startswith("`age` is 999 in 12 rows, far from all its other values")
    assert warning.endswith("a data factory")


def test_explains_a_width_by_the_indicators_of_gaps():
    wide = (TensorSpec(case.DATA.inputs[0].name, ("batch", 32), "float32"),)
    fixed = replace(case.MODEL, inputs=(replace(wide[0], shape=("batch", 30)),))
    ((code, _, message, help),) = findings(model=fixed, data=data_with(inputs=wide, indicators=("a", "b")))
    assert (code, "(batch, 30)" in message) == ("R136", True)
    assert help.startswith("2 of its numbers say where a gap was filled: take `indicator` out of `impute`")
