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
        "`titrant plan --hardware` takes a file that `titrant hardware --save` wrote on the machine to plan for.",
        "titrant plan recipe.yaml --hardware plan.json",
        "titrant hardware --save server.json; titrant plan recipe.yaml --hardware server.json",
    ),
    Code(
        "P003",
        "The file cannot be written there",
        "`titrant recipes cp` never overwrites a file; `titrant plan --out` writes a .json file, over a saved plan at "
        "most.",
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
        "P009",
        "Nothing of that name to explain",
        "`titrant explain` takes a code, or a recipe and a key, or a run and a step.",
        "titrant explain recipe.yaml",
        "titrant explain recipe.yaml quantization.method",
    ),
)
