"""Codes X400-X499: predicting, timing and judging."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "X401",
        "a model's output is NaN or infinite",
        "A model answered some rows with NaN or infinity, so nothing can be decided from them. Usually an input is not "
        "scaled as the model was trained, or a narrow number format overflows. A candidate is rejected for it; the "
        "original stops the run.",
        "data:\n  transform: []",
        "data:\n  transform: [standardize]",
    ),
    Code(
        "X402",
        "the data lacks an input of the model",
        "The model's inputs are found in the data by name. The message lists what the data has.",
        "model:\n  onnx: detector.onnx   # takes `image`\ndata:\n  inputs: [picture]",
        "model:\n  onnx: detector.onnx\ndata:\n  inputs: [image]",
    ),
    Code(
        "X403",
        "an output has another number of rows than the batch",
        "Every output needs the batch as its first dimension, so that answer i belongs to row i. A model that reduces "
        "over the batch, or answers a list of variable length, cannot be judged case by case.",
        "def forward(self, x):\n    return self.net(x).mean()",
        "def forward(self, x):\n    return self.net(x)",
    ),
    Code(
        "X404",
        "there are no rows to answer",
        "A role that the run needs has no rows.",
        "data:\n  split: {train: 0.7, tuning: 0.1, calibration: 0.2, evaluation: 0.0}",
        "data:\n  split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}",
    ),
    Code(
        "X410",
        "an operating point needs a binary task with a positive class",
        "A threshold or a sensitivity says from which probability on a case counts as positive. With several "
        "classes, or without `data.positive`, the class with the largest score is decided.",
        "task: multiclass_classification\nvalidation:\n  operating_point: {sensitivity: 0.99}",
        "data:\n  positive: malignant\nvalidation:\n  operating_point: {sensitivity: 0.99}",
    ),
    Code(
        "X411",
        "no tuning row is positive",
        "The threshold for a sensitivity is set on the positive tuning rows, and there are none.",
        "data:\n  split: {train: 0.6, tuning: 0.0, calibration: 0.1, evaluation: 0.3}",
        "data:\n  split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}",
    ),
    Code(
        "X420",
        "outputs do not fit the task",
        "The judged output must hold one number or one number a class for each case, as logits or probabilities, and a "
        "candidate must answer with the same outputs and shapes as the original.",
        "model:\n  output: {name: boxes, kind: values}\ntask: binary_classification",
        "model:\n  output: {name: scores, kind: logits}\ntask: binary_classification",
    ),
    Code(
        "X430",
        "a model that is to be timed has no engine",
        "`profile.latency` times several models together and needs the engine of each by name.",
        "engines: {original: torch}   # and a model `static`",
        "engines: {original: torch, static: onnxruntime}",
    ),
    Code(
        "X431",
        "measuring a model's memory failed",
        "A model is loaded and answers its largest batch in a process of its own, whose memory is counted. It raised "
        "an error there that is none of titrant's; the message is the error's.",
        "def forward(self, x): return x.view(32, -1)   # for a batch of 8: RuntimeError",
        "def forward(self, x): return x.flatten(1)",
    ),
)
