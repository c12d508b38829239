"""Of a language model's answers what judges them is kept, whatever the vocabulary, and predicted so."""

import numpy as np
import pytest

from titrant.runtime.api import apply as apply_operator
from titrant.runtime.contract.reading import TokenReading
from titrant.runtime.operators.validate.predict import PredictParams, predict
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.cost import Work
from titrant.schema.facts import Hardware, HardwareIdentity, ModelFacts, TensorSpec

torch = pytest.importorskip("torch")
ASKED = {"engine": "torch", "tokens": {"output": "", "kind": "logits"}}
POINT = {"kind": "argmax", "threshold": None, "source": ""}


class Words(torch.nn.Module):
    """(batch, length) tokens → logits (batch, length, 9); with `mixing` a row depends on its batch."""

    def __init__(self, mixing=False):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.mixing = torch.nn.Embedding(9, 8), torch.nn.Linear(8, 9), mixing

    def forward(self, tokens):
        hidden = self.embed(tokens).cumsum(1)
        return self.head(hidden - hidden.mean(0, keepdim=True) if self.mixing else hidden)


@pytest.fixture
def documents():
    tokens = np.random.default_rng(0).integers(0, 9, (20, 6))
    targets = np.where(np.arange(6) < 5, np.roll(tokens, -1, axis=1), -100)
    places = np.arange(20)
    return Rows("tuning", {"tokens": tokens}, None, places, places.astype(np.uint64), targets=targets)


@pytest.fixture
def apply(tmp_path):
    return lambda operator, values, params: apply_operator(operator, values, params, scratch=tmp_path).outputs


def model(**given):
    inputs = (("tokens", ("batch", 6), "int64"),)
    return TorchModel(Words(**given).eval(), "tests:Words", {}, "", inputs, ("logits",))


def test_keeps_four_numbers_a_position(apply, documents):
    answers = apply("validate.predict", {"model": model(), "rows": documents}, {**ASKED, "batch": 7})["outputs"]
    (kept,) = answers.arrays.values()
    assert (list(answers.arrays), kept.shape, kept.dtype) == (["logits"], (20, 6, 4), np.float64)
    with torch.inference_mode():
        logits = model().module(torch.from_numpy(documents.inputs["tokens"])).double()
    expected = logits[:, :5].log_softmax(-1).gather(2, torch.from_numpy(documents.targets[:, :5, None]))[..., 0]
    np.testing.assert_allclose(kept[:, :5, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(kept[:, :5, 2], logits[:, :5].argmax(-1))
    assert (kept[:, 5, 2] == -1).all()


def test_a_likelier_token_by_rounding_is_no_other_answer(apply, documents):
    repeats = apply("validate.repeats", {"model": model(), "rows": documents}, ASKED)["repeats"]
    assert repeats["difference"] < 1e-5


def test_sees_documents_that_depend_on_their_company(apply, documents):
    for mixing, dependent in ((False, 0), (True, 20)):
        given = {"model": model(mixing=mixing), "rows": documents}
        outputs = apply("validate.predict", given, ASKED)["outputs"]
        reading = {**ASKED, "task": "language_modeling", "output": "logits"}
        seen = apply("validate.batch_invariance", {**given, "outputs": outputs, "point": POINT}, reading)["invariance"]
        assert seen["alone"]["differ"] >= dependent * 0.7
        assert seen["alone"]["differ"] <= dependent


def test_predicts_what_is_kept():
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 2, None, (), "3.11", {"torch": "2"}))
    outputs = (TensorSpec("logits", ("batch", 100, 50000), "float32"),)
    facts = ModelFacts("factory", "", 36, 36, 144, (), (), outputs)
    asked = PredictParams(engine="torch", tokens=TokenReading(output="logits"))
    work = Work(rows={"rows": 1000})
    assert predict(asked, machine, facts, work).output_bytes == pytest.approx(1000 * 100 * 32, rel=0.01)
    whole = predict(PredictParams(engine="torch"), machine, facts, work)
    assert whole.output_bytes == pytest.approx(1000 * 100 * 50000 * 4, rel=0.01)
