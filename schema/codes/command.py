"""Codes P001-P009: arguments of the command line."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "P001",
        "Not a saved plan",
        "`titrant run` takes a recipe (.yaml) or a plan that `titrant plan --out` saved (.json).",
        "titrant run report.json",
        "titrant plan recipe.yaml --out plan.json; titrant run plan.json",
    ),
    Code(
        "P002",
        "Not a machine's description",
        "`titrant plan --hardware` takes a shipped profile (`titrant hardware --profiles`), a file that `titrant "
        "hardware --save` wrote on the machine to plan for, or a description by hand (.yaml).",
        "titrant plan recipe.yaml --hardware plan.json",
        "titrant hardware --save server.json; titrant plan recipe.yaml --hardware server.json",
    ),
    Code(
        "P003",
        "The file cannot be written there",
        "`titrant recipes cp` never overwrites a file; `titrant plan --out` writes a .json file, over a saved plan at "
        "most. Both need a folder that you may write to.",
        "titrant recipes cp digits_cnn README.md",
        "titrant recipes cp digits_cnn mine.yaml",
    ),
    Code(
        "P004",
        "No operator or shipped recipe of that name",
        "`titrant show operators` and `titrant show recipes` list what there is.",
        "titrant show operators ort_static",
        "titrant show operators quantize.ort_static",
    ),
    Code(
        "P005",
        "The log file cannot be written",
        "The folder of `--log-file` is read-only, or something else is in its place.",
    ),
    Code(
        "P006",
        "A saved plan no longer holds",
        "Since the plan was saved, the machine, the model, the data or a library changed in a way that would give "
        "another plan. The message names the first difference. Plan again, and review the new plan.",
    ),
    Code(
        "P007",
        "No run of that name, or more than one",
        "A run is named by its folder, its id, a unique beginning or end of it, or `latest`.",
        "titrant report 2026",
        "titrant report latest",
    ),
    Code(
        "P008",
        "The run has no report",
        "It was interrupted or a step failed before the report was written. Run its recipe again: finished steps are "
        "reused.",
    ),
    Code(
        "P015",
        "A file of a run's folder is missing or damaged",
        "Run folders are plain files that anything may have changed. What matters is in the store, which is verified "
        "when it is read: running the recipe again reuses it.",
    ),
    Code(
        "P016",
        "The machine could not be measured",
        "`titrant hardware --bench` measures in a child process that loads torch and onnxruntime. The message says why "
        "it ended; `titrant doctor` says which engine does not load.",
        "titrant hardware --bench   # and torch is not installed",
        "titrant doctor",
    ),
    Code(
        "P017",
        "The answer cannot be written",
        "What stdout leads to takes nothing: usually a file on a full disk. What was asked for may have been done all "
        "the same; `titrant report latest` shows a run again.",
    ),
    Code(
        "P009",
        "Nothing of that name to explain",
        "`titrant explain` takes a code, or a recipe and a key, or a run and a step.",
        "titrant explain recipe.yaml",
        "titrant explain recipe.yaml quantization.method",
    ),
    Code(
        "P070",
        "An age or size cannot be read",
        "`titrant store gc` takes ages in days or in the units of a recipe's times, and sizes in those of a recipe.",
        "titrant store gc --keep 10",
        "titrant store gc --keep '10 GiB' --older-than '90 days'",
    ),
    Code(
        "P071",
        "There is no such lock file",
        "`titrant store gc --lock` names a lock file whose results are kept. The lock beside the recipe of a run is "
        "found without it.",
    ),
    Code(
        "P072",
        "A filter of runs cannot be read",
        "`titrant show runs --metric` compares one figure of the released model with a number: a name, one of "
        "`<`, `<=`, `>`, `>=` and `=`, and a number, with a unit for sizes and times.",
        "titrant show runs --metric 'accuracy is good'",
        "titrant show runs --metric 'accuracy>=0.95' --metric 'size<=200 KiB'",
    ),
    Code(
        "P073",
        "No time to run in",
        "`titrant run --max-minutes` takes a number above 0, such as 30 or 0.5.",
        "titrant run x.yaml --max-minutes 0",
        "titrant run x.yaml --max-minutes 30",
    ),
    Code(
        "P080",
        "Not a model that can be inspected",
        "`titrant inspect` takes a recipe, an .onnx file, a .safetensors file (whose header says what it holds, not "
        "what a level makes of it), or a factory `module:Name` with `--args` and `--inputs` as JSON.",
        "titrant inspect model.pt",
        "titrant inspect nets:Net --args '{\"classes\": 2}'",
    ),
    Code(
        "P081",
        "No starter recipe for this model and data",
        "`titrant init` takes an .onnx file or a factory `module:Name`, and data as .csv, .parquet, .npz or a folder "
        "of images with the column that holds the label. A weights file needs the factory that takes it.",
        "titrant init weights.safetensors",
        "titrant init nets:Net --weights weights.safetensors --data cases.csv --label diagnosis",
    ),
)
