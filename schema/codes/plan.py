"""Codes P001-P099: decisions, feasibility and saved plans."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "P010",
        "A file cannot be read",
        "The recipe names a file or folder that exists but cannot be read, so its content cannot be digested.",
        "weights: locked.safetensors   # owned by somebody else, mode 600",
        "weights: model.safetensors    # readable by you",
    ),
    Code(
        "P011",
        "A user's operator is not a quantization method",
        "`quantization.method: module:Name` names an operator of yours. To be a method it declares which kind of model "
        "it takes, and the engine and format that its result runs in, as `method=Method(…)`, and has a `model` port on "
        "either side.",
        '@operator("halve", …, inputs={"model": "onnx"}, outputs={"model": "onnx"})',
        '@operator("halve", …, inputs={"model": "onnx"}, outputs={"model": "onnx"}, method=Method("halve", …))',
    ),
    Code(
        "P012",
        "A user's operator has no such option",
        "Each key under `quantization.options` is a parameter of the chosen operator, by its name in the operator's "
        "parameter model.",
        "quantization: {method: halving:halve, options: {kep: 0.5}}",
        "quantization: {method: halving:halve, options: {keep: 0.5}}",
    ),
    Code(
        "P013",
        "The plan is for another machine",
        "A plan made with `hardware=` of another machine (`titrant plan --hardware`) can be read and saved here, and "
        "is run there: what is measured here must not pass for that machine's. The message names the first difference.",
        "titrant.run(titrant.plan(recipe, hardware=server))",
        "titrant.run(titrant.plan(recipe))",
    ),
    Code(
        "P014",
        "An option with nothing to act on",
        "`--set` changes a recipe, and a saved plan, a run or a code is none. `--trust` counts for a recipe, and for a "
        "saved plan when it is run.",
        "titrant run plan.json --set seed=7",
        "titrant plan recipe.yaml --set seed=7 --out plan.json; titrant run plan.json",
    ),
    Code(
        "P020",
        "No way from this model to the format asked for",
        "Each candidate is made by a chain of operators from the original's kind to the file's format. No operator of "
        "this version converts between the two kinds named.",
        "model: {onnx: detector.onnx}\nexport: [{format: torchscript}]",
        "model: {onnx: detector.onnx}\nexport: [{format: onnx}]",
    ),
    Code(
        "P021",
        "A step cannot run on this machine",
        "An operator says that something it needs is not there: an engine, a library or a device. The help line says "
        "what would make it possible.",
        "target: {engine: onnxruntime}   # and onnxruntime is not installed",
        "target: {engine: torch}",
    ),
    Code(
        "P022",
        "No candidate can be made",
        "Of all methods that end in the format asked for, none can run on this machine with this model; each is listed "
        "with its reason.",
        "quantization: {method: torch.dynamic}\nexport: [{format: onnx}]",
        "quantization: {method: ort.dynamic}\nexport: [{format: onnx}]",
    ),
    Code(
        "P023",
        "No file can be small enough",
        "The size limit is below the size of every file that can be made here, and those sizes are counted from the "
        "layers and not estimated, so running would only prove it again.",
        "target: {size: 1 KiB}",
        "target: {size: 200 KiB}",
    ),
    Code(
        "P024",
        "The disk is too small",
        "The files that the steps to run are certain to write do not fit on the disk that holds the store. What is "
        "stored already needs no room.",
        "TITRANT_HOME=/small titrant run recipe.yaml",
        "TITRANT_HOME=/large titrant run recipe.yaml",
    ),
    Code(
        "P025",
        "The memory is too small",
        "A step that has to run is certain to need more memory than this machine, or the control group it runs in, "
        "has: the worker itself, the rows that the step reads, the weights, their gradients where it trains, and the "
        "inputs and answers of the largest batch that is timed.",
        "a 7-billion-parameter model on a machine with 8 GiB",
        "the same model on a machine with 64 GiB, or a smaller one",
    ),
    Code(
        "P026",
        "No method gives these bits",
        "`quantization.bits` asks for a width, and with `method: auto` every method that gives it is considered. Where "
        "there is none, nothing would be quantized although the recipe asks for it.",
        "quantization: {bits: 4}",
        "quantization: {bits: 8}",
    ),
    Code(
        "P030",
        "Two things that cannot be compared",
        "`titrant diff` compares two locks with each other, and recipes, saved plans and runs as they come. A run can "
        "be compared once it came to its end and where this version of titrant still reads its plan.",
        "titrant diff recipe.lock.yaml recipe.yaml",
        "titrant diff old.lock.yaml recipe.lock.yaml",
    ),
)
