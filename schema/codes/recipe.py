"""Codes R001-R099: the recipe's text and shape."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "R001",
        "The recipe cannot be read",
        "The path leads to no regular file, or to one that this user may not read.",
        "titrant plan recipe/x.yaml        # the folder is called recipes",
        "titrant plan recipes/x.yaml",
    ),
    Code(
        "R002",
        "The recipe is not UTF-8",
        "Recipes are UTF-8 text, so that names mean the same on every machine. The caret is under the first byte that "
        "is not. Editors call it `UTF-8` or `UTF-8 without BOM`.",
        "description: Röntgen     # saved as Latin-1",
        "description: Röntgen     # saved as UTF-8",
    ),
    Code(
        "R003",
        "The recipe is too large",
        "More than 1 MiB of text, 50 levels or 100,000 values is refused before it is read: no recipe needs that much, "
        "and a hostile file would.",
        "model: {args: {weights: [0.1, 0.2, … a million numbers …]}}",
        "model: {weights: weights.safetensors}",
    ),
    Code(
        "R004",
        "The recipe holds an invisible character",
        "Control characters, odd line breaks and marks that reverse the direction of writing make a recipe read "
        "differently from what it says. Tab, line feed and carriage return are the only ones allowed.",
        'name: "demo\\u202e"',
        "name: demo",
    ),
    Code(
        "R005",
        "The recipe is not YAML",
        "The caret is where the text stops making sense, or at the beginning of what was never finished.",
        "description: note: this has two colons",
        'description: "note: this has two colons"',
    ),
    Code(
        "R006",
        "A tab indents a line",
        "YAML takes only spaces for indentation, since tabs are of different width everywhere.",
        "model:\n\tonnx: model.onnx",
        "model:\n  onnx: model.onnx",
    ),
    Code(
        "R007",
        "A key stands twice",
        "Most YAML readers keep the last one in silence; here neither is preferred.",
        "seed: 1\nseed: 2",
        "seed: 2",
    ),
    Code(
        "R008",
        "Anchors, aliases, merge keys, tags and directives are refused",
        "One line of a recipe means one thing, so nothing in it refers to text elsewhere or changes how text is read. "
        "`extends:` and `--set` are the only ways to share and to change.",
        "target: &here {threads: 2}",
        "target: {threads: 2}",
    ),
    Code(
        "R009",
        "More than one document",
        "A file holds one recipe; `---` may stand before it and nowhere else.",
        "titrant: 1\n---\ntitrant: 1",
        "titrant: 1",
    ),
    Code(
        "R010",
        "The recipe is empty, or no mapping",
        "A recipe is lines of `key: value`, and the first is the version of the language.",
        "- titrant",
        "titrant: 1",
    ),
    Code(
        "R011",
        "A list, a mapping and a single value are not the same",
        "A list was written where a mapping is due, or the other way round, or either where one value is due.",
        "export: {format: onnx}",
        "export: [{format: onnx}]",
    ),
    Code(
        "R012",
        "Unknown option",
        "No key of this name can stand here. Unknown keys are never ignored: a misspelt option that does nothing is "
        "worse than an error.",
        "quantization: {blok: 64}",
        "quantization: {bits: 8}",
    ),
    Code(
        "R013",
        "A required option is missing",
        "The caret is under the section that lacks it.",
        "validation: {safety: {sensitivity: 0.99}}",
        "validation: {safety: {kept: 0.99, sensitivity: 0.99}}",
    ),
    Code(
        "R014",
        "A value of the wrong type",
        "Text, whole numbers, numbers and truth values are told apart, and none is turned into another in silence. "
        "Only `true` and `false` are truth values; `no`, `on`, dates, `0x10` and `010` are text.",
        "train: {find_learning_rate: no}",
        "train: {find_learning_rate: false}",
    ),
    Code(
        "R015",
        "A unit is missing or unknown",
        "Sizes and times are written with their unit. KiB, MiB, GiB are powers of 1024; kB, MB, GB powers of 1000; "
        "times are ns, us, ms, s, min, h.",
        "target: {size: 200}",
        "target: {size: 200 KiB}",
    ),
    Code(
        "R016",
        "A number out of range",
        "Fractions are 0 to 1, never percent.",
        "validation: {retention: 97}",
        "validation: {retention: 0.97}",
    ),
    Code(
        "R017",
        "Not one of the known values",
        "The option takes one of a few words.",
        "level: balancd",
        "level: balanced",
    ),
    Code(
        "R018",
        "A text of the wrong form",
        "Names, references (`module:Name`), dates and slices have a form of their own.",
        "model: {factory: my_models.Net}",
        "model: {factory: my_models:Net}",
    ),
    Code(
        "R019",
        "An empty list or mapping",
        "Here at least one entry is needed; without any, the line is taken out.",
        "export: []",
        "export: [{format: onnx}]",
    ),
    Code(
        "R020",
        "Another version of the recipe language",
        "The first key of a recipe says which version of the language it speaks. A newer one is refused: it may "
        "mean something that this titrant does not know; an older one is rewritten by `titrant migrate`.",
        "titrant: 2",
        "titrant: 1",
    ),
    Code(
        "R021",
        "Exactly one of several options",
        "Some options exclude each other, and one of them is needed.",
        "model: {factory: my_models:Net, onnx: net.onnx}",
        "model: {onnx: net.onnx}",
    ),
    Code(
        "R022",
        "Two parts of the recipe contradict each other",
        "Each is right by itself, but both cannot hold.",
        "level: medical_critical\nquantization: {bits: 4}",
        "level: medical_critical\nquantization: {bits: 8}",
    ),
    Code(
        "R023",
        "The recipe that this one extends cannot be used",
        "`extends` names a recipe by its path from the folder of this one; it goes one level deep.",
        "extends: missing.yaml",
        "extends: base.yaml",
    ),
    Code(
        "R024",
        "A --set flag cannot be applied",
        "An override is a path of the recipe, `=`, and a value as it would stand in the recipe.",
        "titrant plan x.yaml --set target.threads",
        "titrant plan x.yaml --set target.threads=2",
    ),
    Code(
        "R025",
        "A key without a value",
        "An empty value may mean anything, so it means nothing here. `none` switches an option off.",
        "train:",
        "train: {epochs: 30}",
    ),
    Code(
        "R026",
        "A quote or bracket is not closed, or closes nothing",
        "The caret is under the one that has no partner.",
        "export: [{format: onnx}",
        "export: [{format: onnx}]",
    ),
    Code(
        "R027",
        "A name that the recipe does not define",
        "A gate names a subgroup, or a role names a source, that does not stand under `data`.",
        "validation: {gates: [{metric: f1, slice: subgroup agee.old, comparison: at_least, threshold: 0.8}]}",
        "validation: {gates: [{metric: f1, slice: subgroup age.old, comparison: at_least, threshold: 0.8}]}",
    ),
    Code(
        "R028",
        "More mistakes than are shown",
        "A recipe with more than a hundred mistakes is most likely another kind of file.",
    ),
)
