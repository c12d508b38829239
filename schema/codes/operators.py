"""Codes X200-X299: operators and engines."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "X201",
        "rows do not fit the model",
        "The model takes named inputs of a certain shape and dtype, and the rows have others. Nothing is converted "
        "silently: what is judged must be what the model really gets.",
        wrong="a model for (batch, 16) float32, and 30 feature columns",
        right="model: {factory: net:Net, args: {features: auto}}",
    ),
    Code(
        "X202",
        "rows or labels are missing",
        "The step needs rows of a role, or their labels, and there are none.",
        wrong="data: {source: {csv: a.csv}}\ntrain: {epochs: 5}",
        right="data: {source: {csv: a.csv}, label: target}\ntrain: {epochs: 5}",
    ),
    Code(
        "X203",
        "the loss does not fit the output",
        "A classification loss needs one value for each class, or one logit a row for two classes.",
        wrong="three classes and a last layer of width 2",
        right="model: {factory: net:Net, args: {classes: auto}}",
    ),
    Code(
        "X204",
        "the answer is not tensors",
        "A forward must return a tensor, a tuple or list of tensors, or a mapping of name to tensor, at least one for "
        "each named output.",
        wrong="def forward(self, x): return self.body(x).tolist()",
        right="def forward(self, x): return self.body(x)",
    ),
    Code(
        "X205",
        "the loss is no longer finite",
        "Training has left the range of numbers: usually the learning rate is too high, or an input is not scaled or "
        "not finite.",
        wrong="train: {learning_rate: 10}",
        right="data: {transform: [standardize]}\ntrain: {learning_rate: 0.001}",
    ),
    Code(
        "X206",
        "the forward takes decisions on values",
        "Exporting and fusing look at one run of the forward. Where the path depends on the values in a tensor, other "
        "inputs would take another path, which the file would not have.",
        wrong="if x.mean() > 0: x = -x",
        right="x = torch.where(x.mean() > 0, -x, x)",
    ),
    Code(
        "X207",
        "the model cannot be exported",
        "An operation has no counterpart in the format or operator set, or the trace and the model differ.",
        wrong="export: [{format: onnx, opset: 13}]   # for an operation of operator set 20",
        right="export: [{format: onnx}]",
    ),
    Code(
        "X208",
        "the file does not answer as the model does",
        "Every exported file is compared with the module it was made from, on example rows. The difference, relative "
        "to the largest answer, is beyond the tolerance.",
        wrong="a forward that divides by x.shape[0] as a Python number",
        right="x.mean(dim=0)",
    ),
    Code(
        "X209",
        "not a usable ONNX file",
        "The file cannot be read, is not valid ONNX, keeps weights in other files, or would be over 2 GiB.",
        wrong="onnx.save(model, path, save_as_external_data=True)",
        right="onnx.save(model, path)",
    ),
    Code(
        "X210",
        "nothing to quantize",
        "The method quantizes some kinds of layer only, and the model has none of them with fp32 weights.",
        wrong="quantization: {method: torch.dynamic}   # for a network of convolutions",
        right="quantization: {method: ort.static}",
    ),
    Code(
        "X211",
        "onnxruntime cannot quantize the graph",
        "The quantization tools refused the graph, or it is in an operator set that cannot be brought to 13.",
        wrong="a graph in operator set 8 with Upsample nodes",
        right="the same model, exported again with opset 17",
    ),
    Code(
        "X212",
        "the engine cannot load the file",
        "The file is damaged, uses operations that this version of the engine does not have, or (TorchScript) does not "
        "say what its inputs and outputs are.",
        wrong="a file of operator set 25 in an onnxruntime of 2024",
        right="pip install --upgrade onnxruntime",
    ),
    Code(
        "X213",
        "torch has no int8 kernels here",
        "This build of torch quantizes with kernels that it does not have for this processor.",
        wrong="quantization: {method: torch.dynamic}",
        right="quantization: {method: ort.static}",
    ),
    Code(
        "X214",
        "the model cannot be built again",
        "A stored model is its factory, the rewrites that operators made, and its tensors. The factory's source or an "
        "operator has changed since, so that building it again would give something else.",
        wrong="editing net.py after a run, then loading that run's model",
        right="titrant run recipe.yaml",
    ),
    Code(
        "X215",
        "state that is not a tensor",
        "A module keeps state through get_extra_state that cannot be written without pickling.",
        wrong="def get_extra_state(self): return {'vocabulary': self.words}",
        right="model: {factory: net:Net, args: {vocabulary: words.txt}}",
    ),
    Code(
        "X216",
        "a weight is beyond the range of the format",
        "fp16 ends at 65504; bf16 has the range of fp32 with fewer digits.",
        wrong="quantization: {method: cast, options: {dtype: fp16}}",
        right="quantization: {method: cast, options: {dtype: bf16}}",
    ),
    Code(
        "X217",
        "too few calibration rows",
        "Activation ranges are measured on calibration rows, and there are none, or fewer than the batch size that the "
        "file insists on.",
        wrong="data: {split: {train: 0.7, tuning: 0.1, evaluation: 0.2}}",
        right="data: {split: {train: 0.6, tuning: 0.1, calibration: 0.1, evaluation: 0.2}}",
    ),
    Code(
        "X218",
        "an operation does not repeat its result",
        "torch has no deterministic form of an operation that the model uses, and the recipe asks for one.",
        wrong="reproducibility: {deterministic: true}   # and an operation without one",
        right="reproducibility: {deterministic: false}",
    ),
    Code(
        "X219",
        "operator set out of range",
        "The exporter writes a range of ONNX operator sets, which the message names.",
        wrong="export: [{format: onnx, opset: 5}]",
        right="export: [{format: onnx, opset: 17}]",
    ),
    Code(
        "X220",
        "no such device",
        "The engine does not see the device, or was built without it.",
        wrong="target: {device: cuda}   # on a machine without a GPU",
        right="target: {device: auto}",
    ),
    Code(
        "X221",
        "the model failed on a batch",
        "The forward, or a node of the graph, raised an error. The message names the batch's shape and, for a module, "
        "the layer that could not take what it was given.",
        wrong="a first layer Linear(16, 8), and rows of 30 numbers",
        right="model: {factory: net:Net, args: {features: 30}}",
    ),
    Code(
        "X230",
        "unknown operator",
        "The name is neither a built-in operator nor a `module:function` that was declared as one.",
        wrong='titrant.apply("quantize.ort_statik", …)',
        right='titrant.apply("quantize.ort_static", …)',
    ),
    Code(
        "X231",
        "parameters do not fit the operator",
        "An operator's parameters are checked before it runs: names, types and ranges.",
        wrong='titrant.apply("train.fit", inputs, {"epoch": 5})',
        right='titrant.apply("train.fit", inputs, {"epochs": 5})',
    ),
    Code(
        "X232",
        "inputs do not fit the operator",
        "An operator has named inputs; each needed one must be given, and no others.",
        wrong='titrant.apply("model.fuse", {"module": model})',
        right='titrant.apply("model.fuse", {"model": model})',
    ),
)
