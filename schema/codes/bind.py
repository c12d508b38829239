"""Codes R101-R139, P060-P062: names, files and sections that do not fit each other, the data, or the machine."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "R101",
        "Not available in this version",
        "The recipe language knows this key or value, and this version of titrant does not do it yet. It is refused "
        "rather than ignored, so that a recipe never means less than it says. Taking it out asks for nothing else.",
        "reduction: {pruning: {sparsity: 0.5}}",
        "quantization: {method: auto}",
    ),
    Code(
        "R102",
        "A file or folder is not there",
        "Paths start in the folder of the recipe that they stand in. The message has the whole path that was looked "
        "for, and the help line the nearest name in that folder.",
        "weights: resnet20.safetensor",
        "weights: resnet20.safetensors",
    ),
    Code(
        "R103",
        "A file of another sort",
        "The ending of a file says how it is read. Pickles that need arbitrary code are never read.",
        "weights: model.pkl",
        "weights: model.safetensors",
    ),
    Code(
        "R104",
        "A module is not there",
        "`module:Name` is looked for in the recipe's folder and then in the installed environment, without importing "
        "anything. `__main__` is whatever program was started, so it is refused.",
        "factory: modles.net:Net",
        "factory: models.net:Net     # models/net.py beside the recipe",
    ),
    Code(
        "R105",
        "Code from elsewhere needs trust",
        "A factory runs Python. Code under the recipe's folder and installed packages is run; code from anywhere else "
        "on the import path only with `--trust`.",
        "titrant run recipe.yaml          # factory: shared_tools:Net, found through PYTHONPATH",
        "titrant run recipe.yaml --trust",
    ),
    Code(
        "R106",
        "A module has no such name",
        "The file was read, not run: nothing at its top level defines or imports the name.",
        "factory: nets:Resnet20",
        "factory: nets:ResNet20",
    ),
    Code(
        "R107",
        "Not an option of this operator",
        "`quantization.options` are the parameters of the operator that `method` names; `titrant show operators NAME` "
        "lists them. `auto` and `none` have none.",
        "quantization: {method: ort.static, options: {per_chanel: true}}",
        "quantization: {method: ort.static, options: {per_channel: true}}",
    ),
    Code(
        "R108",
        "Method, engine, format and model do not go together",
        "A method ends in one format, a format runs in one engine, and some methods take a torch module only.",
        "quantization: {method: torch.dynamic}\nexport: [{format: onnx}]",
        "quantization: {method: torch.dynamic}\nexport: [{format: torchscript}]",
    ),
    Code(
        "R109",
        "A role has no rows",
        "Some step reads rows of this role and the split gives it none: training reads train, candidates are compared "
        "on tuning, static quantization and fitted transforms of a trained model read calibration, and the contract is "
        "judged on evaluation.",
        "split: {train: 0.7, tuning: 0.3}",
        "split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}",
    ),
    Code(
        "R110",
        "A gate's facts are missing",
        "The recipe asks for a gate that cannot be computed from what it says of the data: safety and sensitivity need "
        "`data.positive`, bias needs `data.subgroups`, and all of them need labels.",
        "validation: {safety: 0.99}       # and no data.positive",
        "data: {positive: malignant}\nvalidation: {safety: 0.99}",
    ),
    Code(
        "R111",
        "The metric has no meaning for this task",
        "Classification has metrics of classes; an unlabeled model can only be compared with its original (agreement).",
        "task: multiclass_classification\nvalidation: {gates: [{metric: dice, comparison: at_least, threshold: 0.8}]}",
        "validation: {gates: [{metric: accuracy, comparison: at_least, threshold: 0.8}]}",
    ),
    Code(
        "R112",
        "The comparison has no meaning for the metric",
        "Agreement with the original has no value of the original to be a ratio of; subgroups are compared by "
        "proportions; and slices by class need classes.",
        "gates: [{metric: agreement, comparison: retention, threshold: 0.98}]",
        "gates: [{metric: agreement, comparison: at_least, threshold: 0.98}]",
    ),
    Code(
        "R113",
        "A threshold out of range",
        "Metrics are fractions from 0 to 1, never percent, and a retention is a ratio near 1.",
        "gates: [{metric: accuracy, comparison: at_least, threshold: 95}]",
        "gates: [{metric: accuracy, comparison: at_least, threshold: 0.95}]",
    ),
    Code(
        "R114",
        "An operating point without two classes",
        "A threshold turns the positive class's probability into a decision. With more classes the largest score "
        "decides, and without labels nothing does.",
        "task: multiclass_classification\nvalidation: {operating_point: {threshold: 0.3}}",
        "task: binary_classification\nvalidation: {operating_point: {threshold: 0.3}}",
    ),
    Code(
        "R115",
        "Two files of one name",
        "`auto` takes the format of whichever candidate wins, which may be the format of another file.",
        "export: [{format: auto}, {format: onnx}]",
        "export: [{format: auto}, {format: onnx, name: portable}]",
    ),
    Code(
        "R116",
        "A gate stands twice",
        "Two gates on one metric, slice and comparison say the same thing twice, and the stricter one decides; two "
        "gates of one name cannot be told apart in a report.",
        "gates: [{metric: f1, comparison: at_least, threshold: 0.8},\n"
        "        {metric: f1, comparison: at_least, threshold: 0.9}]",
        "gates: [{metric: f1, comparison: at_least, threshold: 0.9}]",
    ),
    Code(
        "R117",
        "Training does not fit",
        "Training needs labels, and a model that gives logits: a loss on probabilities trains badly or not at all.",
        "model: {factory: nets:Net, output: {kind: probabilities}}\ntrain: {epochs: 20}",
        "model: {factory: nets:Net, output: {kind: logits}}\ntrain: {epochs: 20}",
    ),
    Code(
        "R118",
        "No such data set in scikit-learn",
        "These are the classification sets that come inside scikit-learn and need no network.",
        "source: {sklearn: breast_canser}",
        "source: {sklearn: breast_cancer}",
    ),
    Code(
        "R119",
        "A user's operator is not checked yet",
        "Its options are known once a child process has imported it, which `titrant check` never does. The next plan "
        "of the recipe describes it, and the description holds while its files are unchanged. This is a warning.",
    ),
    Code(
        "R131",
        "The data has no such column",
        "The data was read, and none of its columns or arrays has this name.",
        "label: diagnosys",
        "label: diagnosis",
    ),
    Code(
        "R132",
        "The critical class is not among the classes",
        "`data.positive` is a value of the label, or the name that the source gives to it.",
        "positive: malignat",
        "positive: malignant",
    ),
    Code(
        "R133",
        "A gate names a class or subgroup value that is not there",
        "Slices are written with the classes and subgroup values that the data has.",
        "gates: [{metric: accuracy, slice: class seven, comparison: at_least, threshold: 0.9}]",
        "gates: [{metric: accuracy, slice: class 7, comparison: at_least, threshold: 0.9}]",
    ),
    Code(
        "R134",
        "The classes do not fit the task",
        "One class leaves nothing to tell apart, and a binary task has two.",
        "task: binary_classification      # the label has ten values",
        "task: multiclass_classification",
    ),
    Code(
        "R135",
        "A role or class got no rows",
        "The split left a role empty although it asks for a share, or evaluation rows lack a class.",
        "split: {tuning: 0.001, evaluation: 0.3}     # of 100 rows",
        "split: {tuning: 0.1, evaluation: 0.3}",
    ),
    Code(
        "R136",
        "Model and data do not fit",
        "The model's inputs are matched with the data's by name, shape and sort of number; an argument that is `auto` "
        "follows from the data.",
        "args: {features: 20}       # the data has 30 features",
        "args: {features: auto}",
    ),
    Code(
        "R137",
        "Outputs and classes do not fit",
        "The output that is judged has one number for each class; a binary task may also have a single one.",
        "args: {classes: 5}         # the label has ten values",
        "args: {classes: auto}",
    ),
    Code(
        "R138",
        "Missing values are not filled",
        "A model answers NaN for NaN. Fill the gaps with a transform, which is shipped with the model, or leave the "
        "columns out.",
        "transform: [standardize]",
        "transform: [impute, standardize]",
    ),
    Code(
        "R139",
        "A pattern matches no layer",
        "A pattern under `quantization.skip` or `only` covers layers by their module name, or all that lie in a module "
        "of that name. One that covers no layer with weights would protect nothing.",
        "skip: [clasifier.*]",
        "skip: [classifier.*]",
    ),
    Code(
        "P060",
        "The machine has no such device",
        "`target.device` names an accelerator that the machine which is planned for does not have.",
        "target: {device: cuda}      # on a machine without a GPU",
        "target: {device: cpu}",
    ),
    Code(
        "P061",
        "The method cannot run here",
        "The one method that the recipe names needs something that this machine, model or data does not have; the help "
        "line says what.",
        "quantization: {method: cast}     # on a processor without 16-bit arithmetic",
        "quantization: {method: ort.static}",
    ),
    Code(
        "P062",
        "No candidate is left",
        "Something speaks against every way of making the file that is asked for; each is listed with its reason.",
        "target: {engine: onnxruntime}    # and onnxruntime is not installed",
        "target: {engine: torch}",
    ),
    Code(
        "P063",
        "this file cannot have that ONNX operator set",
        "An exporter writes a range of operator sets; a file that is ONNX already keeps its own, and other formats "
        "have none.",
        "export: [{format: onnx, opset: 99}]",
        "export: [{format: onnx, opset: 17}]",
    ),
)
