"""What a reduction gave by itself: which ones are on the way to a candidate, and how that is said."""

import pytest

from titrant.schema.gain_parts import STUDENT, ReducedNetwork, ReductionGain, reduced_networks
from titrant.schema.plan import GIVEN, Candidate, Step


def networks(*operators, method="ort.static", loaded=False):
    """Find the reductions of a chain of operators, each step called as its operator; begins with what is loaded."""
    steps = [Step("fit", "train.fit", 1, {}, {"model": "load.model"}, 7, "prepare")]
    before = "" if loaded else "fit"
    for operator in operators:
        inputs = {"model": f"{before}.model", "teacher": "fit.model"} if before else {}
        steps.append(Step(operator, operator, 1, {}, inputs, 7, "make"))
        before = operator
    candidate = Candidate("c", method, "onnxruntime", "onnx", 1, f"{before}.model", "", "", "")
    return reduced_networks(steps, "fit.model", candidate)


@pytest.mark.parametrize(
    ("operators", "reductions"),
    [
        (["prune.blocks", "export.onnx", "quantize.ort_static"],
         [ReducedNetwork("prune.blocks", "prune.blocks", "prune.blocks.model")]),
        (["prune.structured", "train.fit", "validate.reduced", "quantize.ort_static"],
         [ReducedNetwork("prune.structured", "prune.structured", "train.fit.model", trained=True)]),
        (["prune.structured", "factorize.svd", "distill.fit", "export.onnx"],
         [ReducedNetwork("prune.structured", "prune.structured", "prune.structured.model"),
          ReducedNetwork("factorize.svd", "factorize.svd", "distill.fit.model", trained=True)]),
        (["train.fit", "quantize.ort_static"], []),
        (["export.onnx", "quantize.ort_static"], []),
        ([], []),
    ],
)  # fmt: skip
def test_lists_each_reduction_with_the_training_that_follows_it(operators, reductions):
    assert networks(*operators) == tuple(reductions)


def test_takes_a_network_in_the_original_s_place_for_a_student_but_no_file_that_was_made_elsewhere():
    (student,) = networks("model.load", "distill.fit", "export.onnx", loaded=True)
    assert student == ReducedNetwork(STUDENT, "model.load", "distill.fit.model", trained=True)
    assert networks("model.load_onnx", method=GIVEN, loaded=True) == ()


PRUNED = ReductionGain(
    "prune.structured", 1.25, "parameters", trained=True, metric="average_precision", kept=0.9981, lower=0.9712,
    confidence=0.95, rows=1200,
)  # fmt: skip


@pytest.mark.parametrize(
    ("reduction", "words"),
    [
        (PRUNED, "prune.structured: compressed 1.25 times, 0.2000 of the parameters are gone; what is left, trained "
                 "again, keeps 0.9981 of the original's average precision, at least 0.9712 at 0.95 confidence, on "
                 "1,200 evaluation rows, before any quantization; no gate asks it"),
        (ReductionGain("prune.n_m", 1.0, "parameters", 0.5, metric="agreement", beside=True, kept=0.99, rows=80),
         "prune.n_m: compressed 1.00 times, 0.5000 of the weights are 0 and still there; what is left has agreement "
         "0.9900, on 80 evaluation rows, before any quantization; no gate asks it"),
        (ReductionGain(STUDENT, 0.5, "bytes", because="no memory"),
         "student: compressed 0.50 times; what that keeps was not measured: no memory"),
    ],
)  # fmt: skip
def test_says_how_much_smaller_and_what_is_kept_with_its_bound(reduction, words):
    assert reduction.words == words
