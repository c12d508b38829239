"""Codes X100-X199: loading data and models."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "X100",
        "a data file cannot be read",
        "The file is missing, is not in that format, is damaged, or this account may not read it. Nothing is guessed: "
        "a .csv that is not UTF-8 text with a header, or an .npz with Python objects in it, is refused.",
        "source: {csv: patients.xlsx}",
        "source: {csv: patients.csv}",
    ),
    Code(
        "X101",
        "the data has no such column",
        "A column or array that the recipe names is not in the source. The message lists the nearest names.",
        "label: diagnosys",
        "label: diagnosis",
    ),
    Code(
        "X102",
        "columns or arrays differ in length",
        "Every column of one source has one entry a row. An .npz file may hold arrays of several lengths if `inputs` "
        "and `label` name the ones that belong together.",
        "sources: {train: {npz: d.npz}, test: {npz: d.npz}}",
        "sources: {train: {npz: d.npz, inputs: [train_x], label: train_y}, "
        "test: {npz: d.npz, inputs: [test_x], label: test_y}}",
    ),
    Code(
        "X103",
        "a source has no rows",
        "The file or factory gave a table without rows.",
    ),
    Code(
        "X104",
        "a label is missing",
        "Some rows have no label (NaN, or empty text). Titrant does not drop them silently: leave them out of the "
        "file, or drop them in a data factory.",
    ),
    Code(
        "X105",
        "scikit-learn has no such bundled set",
        "Sets that come inside scikit-learn and have classes: breast_cancer, digits, iris, wine.",
        "source: {sklearn: brest_cancer}",
        "source: {sklearn: breast_cancer}",
    ),
    Code(
        "X106",
        "a data factory gave something else than data",
        "A data factory returns a pandas DataFrame, a mapping of array name to array, or a mapping of source name to "
        "either of them.",
        "def load(): return [1, 2, 3]",
        "def load(): return pandas.read_csv('patients.csv')",
    ),
    Code(
        "X107",
        "an image folder is not usable",
        "The folder has no images, an image cannot be decoded, images stand both beside and inside class folders, or "
        "sizes differ and no resize transform follows.",
        "transform: [standardize]",
        "transform: [{resize: {height: 224, width: 224}}]",
    ),
    Code(
        "X108",
        "the recipe's own code raised an error",
        "A factory that the recipe names could not be imported or raised while it ran. The message is its own, with "
        "the line of the user's file.",
    ),
    Code(
        "X109",
        "a column is of a type that cannot be used",
        "Columns hold numbers, truth values or text; arrays hold numbers. Python objects, mixed types and complex "
        "numbers are refused.",
    ),
    Code(
        "X110",
        "a split cannot be made",
        "Fractions of one source add up to more than 1, a role draws from a source that is not there, a class has "
        "fewer rows than there are roles, or a role would stay empty.",
        "split: {train: 0.8, evaluation: 0.3}",
        "split: {train: 0.7, evaluation: 0.3}",
    ),
    Code(
        "X111",
        "roles share rows",
        "The same row (or the same value of the `split.by` column) stands in two sources that have different roles, "
        "so what judges was seen before. `split.overlap: drop` takes the copies from the role that does not judge.",
        "split: {train: a, evaluation: b}",
        "split: {train: a, evaluation: b, overlap: drop}",
    ),
    Code(
        "X120",
        "missing values reach the model",
        "NaN or infinite values are left in an input after all transforms. `impute` fills gaps; it must stand before "
        "the transforms that need complete numbers.",
        "transform: [standardize]",
        "transform: [impute, standardize]",
    ),
    Code(
        "X121",
        "a text column reaches the model",
        "A model takes numbers. `one_hot` turns a text column into one column a value.",
        "transform: [standardize]",
        "transform: [one_hot, standardize]",
    ),
    Code(
        "X122",
        "a transform does not fit its column",
        "A numeric transform was asked for a text column, a per-channel list has another length than the image has "
        "channels, or resize was asked for something that is not an image.",
    ),
    Code(
        "X123",
        "the label has no classes",
        "A classification label has two or more distinct values, one a row. Fractional numbers are a regression "
        "target; one value only leaves nothing to tell apart.",
    ),
    Code(
        "X124",
        "the positive class is not in the label",
        "`data.positive` is one of the label's values, or its name where the source has names.",
        "positive: malignent",
        "positive: malignant",
    ),
    Code(
        "X125",
        "a subgroup does not fit its column",
        "Bins need a column of numbers and rising cut points; values must stand in the column.",
        "subgroups: {sex: {column: sex, values: [F, M]}}  # the column has 1 and 2",
        "subgroups: {sex: {column: sex, values: {men: 1, women: 2}}}",
    ),
    Code(
        "X126",
        "the data does not fit the model's inputs",
        "`model.inputs` names other inputs, or other shapes, than the data gives after its transforms.",
    ),
    Code(
        "X127",
        "no rows to fit the transforms on",
        "Transforms are fitted on train rows, or on calibration rows where there are no train rows.",
        "split: {evaluation: 1.0}",
        "split: {calibration: 0.2, evaluation: 0.8}",
    ),
    Code(
        "X150",
        "a factory cannot be found",
        "The module of `module:Name` cannot be imported, or has no such name. Modules are looked for in the recipe's "
        "folder and in the installed environment.",
        "factory: mymodel:Nett",
        "factory: mymodel:Net",
    ),
    Code(
        "X151",
        "a model factory gave something else than a model",
        "The factory is a torch.nn.Module class, or a function that returns a module.",
    ),
    Code(
        "X152",
        "weights cannot be read",
        "The file is missing, damaged or of another format. Read: .safetensors, and .pt, .pth, .th, .ckpt files that "
        "hold a state_dict.",
    ),
    Code(
        "X153",
        "the weights file holds Python objects",
        "A checkpoint is a pickle, and loading one can run any code. Titrant reads tensors only "
        "(torch.load with weights_only=True) and refuses files that need more.",
        "torch.save(model, 'model.pt')",
        "torch.save(model.state_dict(), 'model.pt')",
    ),
    Code(
        "X154",
        "weights do not match the model",
        "Names or shapes in the weights file differ from those of the model that the factory built. Most often the "
        "factory's arguments are not those of the trained model.",
        "args: {classes: 10}  # trained with 100",
        "args: {classes: 100}",
    ),
    Code(
        "X155",
        "weights hold NaN",
        "The weights file has values that are not numbers, so every answer of the model would be NaN too.",
    ),
    Code(
        "X156",
        "the model cannot answer the data",
        "The model raised while it was shown one batch of the data's shape, or gave something else than tensors.",
    ),
    Code(
        "X160",
        "an ONNX file cannot be used",
        "The file is missing, damaged, not valid ONNX, or its external data is not beside it.",
    ),
    Code(
        "X161",
        "an ONNX file is too new, or has operators that are not known",
        "Its opset or IR version is newer than the installed onnx or onnxruntime, or it uses custom operators. Install "
        "newer ones, or export with a lower opset.",
    ),
)
