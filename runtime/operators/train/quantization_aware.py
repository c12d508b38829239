"""Train a network with weights and activations rounded as int8 will have them."""

from dataclasses import replace
from typing import Any, Self

from pydantic import Field, model_validator

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, operator
from titrant.runtime.cost.forward import ASSUMED_ROWS, forward_seconds, layer_output_bytes, speed_of
from titrant.runtime.cost.sizes import CONVOLUTIONS, NORMALIZATIONS, layers_of
from titrant.runtime.method import FakeQuantization
from titrant.runtime.operators.train import fit
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Rows answered at once when ranges are measured.
_MEASURED_AT_ONCE = 64
# What a training takes with rounding over one without: a perceptron 1.7, a depthwise network 1.9.
_SECONDS_FACTOR = 1.8
# Activations are kept before and after they are rounded, with a mark of what was cut.
_KEPT_AGAIN = 1.25


class QuantizationAwareParams(fit.FitParams):
    """How the weights are fitted, which number formats are imitated, and when their ranges are found."""

    largest_weight: int = Field(127, ge=1, le=127, description="weights as whole numbers up to this, of either sign")
    per_channel: bool = Field(True, description="a scale for each output channel rather than for the whole weight")
    symmetric_activations: bool = Field(
        False, description="levels of activations lie evenly about 0 where some are negative"
    )
    rows: int = Field(512, ge=1, description="calibration rows by which ranges are found, at most")
    every: int = Field(100, ge=1, description="steps after which ranges are found anew, as at the end of each epoch")
    freeze: float = Field(
        0.5, ge=0, le=1, description="share of all steps after which batch norms keep their mean and variance"
    )
    leave: tuple[str, ...] = Field((), description="layers, by name, that are not rounded")

    @model_validator(mode="after")
    def _in_one_process(self) -> Self:
        if self.processes > 1:
            raise ValueError("ranges are found in one process, and processes: 1 is what can be asked for")
        return self


def requires(params: QuantizationAwareParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need what training needs, a layer that can be rounded, and scales that a batch norm does not change."""
    unmet = fit.requires(params, hardware, model)
    if model is None:
        return unmet
    layers = [layer for layer in layers_of(model, "Linear", *CONVOLUTIONS) if layer.name not in params.leave]
    if not layers and not any(layer.custom for layer in model.layers):
        cause = "the model has no linear layer and no convolution that could be trained rounded"
        unmet = (*unmet, Unmet(cause, "take train.quantization_aware out"))
    if not params.per_channel and any(layer.type in NORMALIZATIONS for layer in model.layers):
        cause = "batch norms are folded into weights, which changes what one scale for a whole weight rounds"
        unmet = (*unmet, Unmet(cause, "write per_channel: true"))
    return unmet


def predict(
    params: QuantizationAwareParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model the training, what rounding adds to it, and the passes by which ranges are found."""
    training = fit.predict(params, hardware, model, work)
    if model is None or training.seconds is None or training.peak_bytes is None:
        return training
    steps = -(-work.rows.get("train", ASSUMED_ROWS) // params.batch_size)
    measured = 1 + params.epochs * (1 + steps // params.every)
    rows = min(params.rows, work.rows.get("calibration", params.rows))
    cost, speed = run_cost("torch", "torch"), speed_of(hardware, work.threads)
    measuring = measured * rows / _MEASURED_AT_ONCE * forward_seconds(model, speed, cost, _MEASURED_AT_ONCE)
    kept = _KEPT_AGAIN * params.batch_size * max(layer_output_bytes(model), model.activation_bytes or 0)
    peak = training.peak_bytes + round(kept) + 2 * model.weight_bytes + work.bytes.get("calibration", 0)
    return replace(training, seconds=_SECONDS_FACTOR * training.seconds + measuring, peak_bytes=peak)


@operator(
    "train.quantization_aware",
    version=1,
    family="train",
    params=QuantizationAwareParams,
    inputs={"model": "torch", "train": "rows", "tuning": "rows", "calibration": "rows"},
    outputs={"model": "torch", "curves": "value"},
    consumes=["model"],
    requires=requires,
    predict=predict,
    loads=("torch", "torch._dynamo", "titrant.runtime.training.fake_quantization"),
    costless=("learning_rate", "weight_decay", "momentum", "loss", "deterministic", "metric", "freeze"),
    libraries=("torch", "numpy"),
    user_code=True,
)
def train_quantization_aware(
    params: QuantizationAwareParams, context: Context, *, model: Any, train: Any, tuning: Any, calibration: Any
) -> dict[str, Any]:
    """Fit the weights while layers multiply weights and inputs that are rounded to int8, and keep the best epoch's.

    The rounding is that of QuantizeLinear and DequantizeLinear; its gradient is 1 within the range and 0 beyond
    (Jacob et al. 2018; Krishnamoorthi 2018, arXiv:1806.08342). What comes out is in fp32, and loses less when it is
    quantized in these formats with ranges from the same rows.

    Helps when: int8 loses what a contract asks for, by coarse weights or wide ranges, and there are labels to train on.
    Inputs:     model - any module with trainable parameters, and nn.Linear or nn.Conv layers; train, tuning - rows with
                labels, as for train.fit; calibration - rows like those to come, by which ranges are found
    Outputs:    model - same structure, the weights in fp32 that were best on tuning rows as int8 has them, eval mode;
                curves - as of train.fit, all of them of the rounded network. The measurements rounded_layers, and
                unrounded_layers: linear layers and convolutions that no calibration row reaches
    Fails:      PreconditionError X617 where no layer can be rounded, X618 where what a layer is given is not finite,
                StepError X404 without calibration rows, and as train.fit does
    Cost:       nearly twice that of train.fit, and a forward pass over `rows` rows every `every` steps; activations
                are kept twice
    """
    from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention
    from titrant.runtime.training.fake_quantization import calibration_pass, fake_quantized

    formats = FakeQuantization(params.largest_weight, params.per_channel, params.symmetric_activations)
    answer = calibration_pass(model, calibration, params.rows, _MEASURED_AT_ONCE)
    # The fused encoder layer of inference mode reads weights by itself, past what rounds them.
    with (
        plain_attention(),
        fixed_settings(context.threads, context.seed, deterministic=params.deterministic),
        fake_quantized(
            model.module, formats, answer, leave=params.leave, every=params.every, freeze=params.freeze
        ) as rounding,
    ):
        rounded = sum(layer.reached for layer in rounding.layers.values())
        context.measure("rounded_layers", rounded)
        context.measure("unrounded_layers", len(rounding.layers) - rounded)
        fitted, curves = fit.fit(model, train, tuning, params, context, watchers=(rounding,))
    return {"model": fitted, "curves": curves}
