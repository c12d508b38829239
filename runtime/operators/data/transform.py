"""Fit the transforms on train rows and make each role's inputs, labels and subgroups."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, inspected
from titrant.runtime.data.parameters import (
    File,
    ImageParams,
    InputParts,
    InputSpecs,
    Names,
    PlainValue,
    PlainValues,
    SubgroupColumn,
    TensorParams,
    TransformSteps,
)
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, ModelFacts, rows_bytes
from titrant.schema.plan import Prediction
from titrant.schema.recipe.data import ROLES
from titrant.schema.recipe.transform import FITTED
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.data.classes import Classes
    from titrant.runtime.data.elsewhere import Loaded
    from titrant.runtime.data.wiring import Part
    from titrant.runtime.values import Rows, RowSplit, Tables, Transforms

# The roles that transforms may be fitted on, in this order.
FITTED_ON = ("train", "calibration")

# Bytes of rows that are made in a second.
_MADE_BYTES_PER_SECOND = 150e6


class DataTransformParams(Params):
    """How raw columns become the model's inputs.

    `inputs` and `label` as in data.load; `inputs` None: every column but the label and `by`. `model_inputs` are the
    model's inputs where they are known; otherwise stacked numbers are "features" and an array keeps its name.
    """

    task: str
    inputs: Names | None = None
    label: str | None = None
    by: str | None = Field(None, description="the column that `split.by` names")
    positive: PlainValue | None = None
    classes: PlainValues = Field((), description="the classes in the order of the model's outputs; (): sorted")
    transforms: TransformSteps = ()
    transform_from: File | None = Field(
        None,
        description="transforms fitted elsewhere: a folder with transforms.json, or an ONNX file",
        exclude_if=lambda value: value is None,
    )
    subgroups: dict[str, SubgroupColumn] = Field(default_factory=dict)
    model_inputs: InputSpecs = ()
    wiring: InputParts = Field((), description="what each input of the model is made of; (): by their names")
    stepped: bool = Field(
        False, description="`model_inputs` are one step of several in a row", exclude_if=lambda value: not value
    )
    images: dict[str, ImageParams] = Field(
        default_factory=dict,
        description="how each column of images was read, for who answers with the model",
        exclude_if=lambda value: not value,
    )

    @property
    def parts(self) -> dict[str, str | tuple[str, ...]]:
        """What each input of the model is made of, in the model's order; those of a fixed value apart."""
        return {item.name: item.part for item in self.wiring if item.value is None}

    @property
    def constants(self) -> dict[str, bool | int | float]:
        """The inputs that are one number in every row."""
        return {item.name: item.value for item in self.wiring if item.value is not None}


def predict(
    params: DataTransformParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count every role's rows; the time is what transforming took when the data was inspected."""
    data = work.data
    if data is None:
        return Prediction(seconds=0.05, basis="guess")
    sizes = [rows_bytes(data, role) for role in ROLES]
    seconds, basis = inspected(data, "transform", BASE_SECONDS + sum(sizes) / _MADE_BYTES_PER_SECOND)
    # All roles are held; the largest is converted, hashed, and copied once more while it is written.
    peak = sum(sizes) + max(sizes) * 5 // 2
    bases = {"seconds": basis, "output_bytes": "counted"}
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=sum(sizes), basis="modelled", bases=bases)


@operator(
    "data.transform",
    version=5,
    family="data",
    params=DataTransformParams,
    inputs={"tables": "tables", "split": "split"},
    outputs={
        "train": "rows",
        "tuning": "rows",
        "calibration": "rows",
        "evaluation": "rows",
        "transforms": "transforms",
    },
    predict=predict,
    loads=("titrant.runtime.data.transforms",),
    libraries=("numpy", "pillow", "tokenizers"),
)
def data_transform(
    params: DataTransformParams, context: Context, *, tables: "Tables", split: "RowSplit"
) -> Mapping[str, Any]:
    """Fit the transforms on train rows, or take their figures as given or loaded, and apply them to every role.

    Helps when: always; the same fitted transforms are shipped with the model.
    Inputs:     tables, split - the sources and who has which row
    Outputs:    train, tuning, calibration, evaluation - inputs name → (rows, …) float32 or int64, labels as indices
                into the class names, or targets where they are numbers, subgroups; a role that was left out has no
                rows. transforms - as fitted
    Fails:      PreconditionError when NaN is left in an input, a text column is not encoded, a label is not a class,
                `positive` is not one of the classes, there is one class only, or numbers are no whole ones where the
                model takes these; X645 when labels of a task without classes are no numbers, X570 no marks of
                0 and 1, X646 no masks, X647 no boxes; RecipeError X128 for a class that `classes` does not list, X129
                for a model input without a match in the data, X240 for given figures that do not fit their columns,
                X241 and X242 for transforms that cannot be loaded or take other columns
    Cost:       a pass over the inputs for each transform; they are held in memory twice
    """
    rows, fitted = transform(params, tables, split)
    return {**rows, "transforms": fitted}


@dataclass(frozen=True)
class _Data:
    """What the rows are made from."""

    params: DataTransformParams
    tables: "Tables"
    split: "RowSplit"

    def everywhere(self, name: str, key: str) -> "list[np.ndarray]":
        """Return a column of every source; `key` is the recipe key that names it."""
        from titrant.runtime.data.columns import find

        return [find(table.columns, name, "the data", key) for table in self.tables.sources.values()]

    def of(self, role: str, name: str) -> "np.ndarray":
        """Return a raw column of a role's rows, in the order of sources and rows."""
        from titrant.runtime.data.columns import find, joined

        sources = self.split.roles.get(role, {})
        parts = [
            find(self.tables.sources[source].columns, name, f"source {source}", "data.inputs")[rows]
            for source, rows in sources.items()
        ]
        return joined(parts, name) if parts else next(iter(self.tables.sources.values())).columns[name][:0]

    def is_column_of_floats(self, name: str) -> bool:
        """Whether every source holds single floating-point numbers under a name."""
        columns = [table.columns.get(name) for table in self.tables.sources.values()]
        return all(column is not None and column.ndim == 1 and column.dtype.kind == "f" for column in columns)

    def count(self, role: str) -> int:
        """Count a role's rows."""
        return sum(len(rows) for rows in self.split.roles.get(role, {}).values())


def transform(params: DataTransformParams, tables: "Tables", split: "RowSplit") -> "tuple[dict[str, Rows], Transforms]":
    """Fit on train rows (calibration rows without any) and apply to every role.

    Returns role → rows, and the transforms.
    """
    from titrant.runtime.data.content import input_names
    from titrant.runtime.data.elsewhere import elsewhere
    from titrant.runtime.data.gaps import check_gaps
    from titrant.runtime.data.groups import subgroup_values

    data = _Data(params, tables, split)
    table = next(iter(tables.sources.values()))
    loaded = elsewhere(params.transform_from, params, table)
    names = loaded.columns if loaded is not None else input_names(params, table)
    if loaded is None:
        marks = {name: texts for table in tables.sources.values() for name, texts in table.marks.items()}
        numbers = [name for name in names if data.is_column_of_floats(name)]
        check_gaps(((name, [data.of(role, name) for role in ROLES]) for name in numbers), params.transforms, marks)
    classes = _classes(data)
    groups = {
        name: subgroup_values(name, group, data.everywhere(group.column, f"data.subgroups.{name}"))
        for name, group in params.subgroups.items()
    }
    transforms = _fit(data, names, classes, loaded)
    return {role: _rows(data, role, transforms, classes, groups) for role in ROLES}, transforms


def classes_of(params: DataTransformParams, tables: "Tables") -> "Classes | None":
    """Return the classes of the label over all sources, None without a label."""
    from titrant.runtime.values import RowSplit

    return _classes(_Data(params, tables, RowSplit({}, {})))


def class_notes(params: DataTransformParams, tables: "Tables") -> tuple[str, ...]:
    """Return what a person should know of how the label was read."""
    classes = classes_of(params, tables)
    return () if classes is None else classes.notes


def _classes(data: _Data) -> "Classes | None":
    from titrant.runtime.data.classes import find_classes, label_kind

    label = data.params.label
    kind = label_kind(data.params.task)
    if label is None or kind not in ("class", "mask", "boxes"):
        return None
    if kind in ("mask", "boxes"):
        from titrant.runtime.data.images.objects import find_object_classes

        resized = any(step.name == "resize" for step in data.params.transforms)
        every = data.everywhere(label, "data.label")
        return find_object_classes(every, label, kind, data.params.classes, resized=resized)
    names: dict[str, str] = {}
    for table in data.tables.sources.values():
        names |= table.label_names
    return find_classes(data.everywhere(label, "data.label"), names, label, data.params.classes)


def fitting_role(rows: Mapping[str, int]) -> str | None:
    """Return the role whose rows transforms are fitted on; None where it has none."""
    return next((role for role in FITTED_ON if rows.get(role)), None)


def _fit(data: _Data, names: tuple[str, ...], classes: "Classes | None", loaded: "Loaded | None") -> "Transforms":
    from titrant.runtime.data.classes import positive_class
    from titrant.runtime.data.elsewhere import with_outputs
    from titrant.runtime.data.tokenize import as_tokens
    from titrant.runtime.data.transforms import fit, of_fractions
    from titrant.runtime.values import Transforms

    params = data.params
    role = fitting_role({role: data.count(role) for role in FITTED_ON})
    if role is None and any(step.name in FITTED and not step.given for step in params.transforms):
        raise PreconditionError(
            Diagnostic(
                "X127", "there are no train or calibration rows to fit transforms on", help="give either some rows"
            )
        )
    fitting = role or next(role for role in reversed(ROLES) if data.count(role))
    columns = {name: data.of(fitting, name) for name in names}
    constants = params.constants
    columned = tuple(spec for spec in params.model_inputs if spec.name not in constants)
    made = as_tokens(columns, params.transforms if loaded is None else loaded.steps)
    inputs, dtypes, unstacked = wire(made, columned, params.parts)
    if loaded is None:
        steps = fit(params.transforms, columns)
    else:
        steps = (with_outputs(loaded, tuple(inputs)) if loaded.is_graph else loaded).steps
    dtypes |= dict.fromkeys(of_fractions(inputs, steps) - {spec.name for spec in columned}, "float32")
    inputs |= dict.fromkeys(constants, ())
    dtypes |= {spec.name: spec.dtype for spec in params.model_inputs if spec.name in constants}
    positive = None if classes is None else positive_class(classes, params.positive)
    whites = tuple(sorted({white for table in data.tables.sources.values() for white in table.deep_whites}))
    images = {name: replace(item.reading, deep_whites=whites) for name, item in params.images.items()}
    if classes is None:
        named, critical = _labels(data)
        return Transforms(
            steps, inputs, dtypes, named, critical, unstacked=unstacked, constants=constants, images=images
        )
    ordered = bool(params.classes)
    return Transforms(
        steps, inputs, dtypes, classes.names, positive, unstacked, classes.kind, constants, images, ordered
    )


def _labels(data: _Data) -> tuple[tuple[str, ...], int | None]:
    """Return the names of several labels, and the place of the critical one; () and None where there are none."""
    from titrant.runtime.data.classes import label_kind, named_labels

    label = data.params.label
    if label is None or label_kind(data.params.task) != "labels":
        return (), None
    return named_labels(data.everywhere(label, "data.label")[0], data.params.classes, data.params.positive)


def _rows(
    data: _Data,
    role: str,
    transforms: "Transforms",
    classes: "Classes | None",
    groups: Mapping[str, tuple[str, ...]],
) -> "Rows":
    import numpy as np

    from titrant.runtime.data.classes import label_kind
    from titrant.runtime.data.content import number_hashes, row_hashes
    from titrant.runtime.data.given import encoded_words
    from titrant.runtime.data.groups import assign
    from titrant.runtime.data.tokenize import windows
    from titrant.runtime.data.transforms import apply
    from titrant.runtime.data.wiring import check_shapes
    from titrant.runtime.values import Rows

    params, sources = data.params, data.split.roles.get(role, {})
    kind = label_kind(params.task)
    columns = {name: data.of(role, name) for names in transforms.inputs.values() for name in names}
    cut = windows(transforms, columns)
    inputs = apply(transforms, cut.columns)
    if data.count(role) and not params.stepped:  # steps are compared where the model is inspected
        fitted = encoded_words(transforms, params.transforms, {role: data.count(role) for role in FITTED_ON})
        by = params.by if params.by not in columns and not params.inputs else None
        unused = f"; `{by}`, by which rows are split, is no input unless data.inputs lists it" if by else ""
        check_shapes(inputs, params.model_inputs, fitted + unused)
    units = [data.split.units[source][rows] for source, rows in sources.items()]
    targets = _targets(data, role, classes, transforms, inputs)
    return Rows(
        role=role,
        inputs=inputs,
        labels=None if classes is None or kind != "class" else classes.numbers(data.of(role, str(params.label))),
        units=(np.concatenate(units) if units else np.empty(0, dtype=np.int64))[cut.documents],
        ids=cut.ids(row_hashes(columns)),
        numbers=cut.ids(number_hashes(columns.values())) if role == "evaluation" else None,
        classes=transforms.classes,
        positive=transforms.positive,
        ordered=transforms.ordered,
        subgroups={
            name: assign(group, groups[name], data.of(role, group.column))[cut.documents]
            for name, group in params.subgroups.items()
        },
        subgroup_values=groups,
        targets=None if targets is None else cut.judged(targets),
    )


def _targets(
    data: _Data, role: str, classes: "Classes | None", transforms: "Transforms", inputs: "Mapping[str, np.ndarray]"
) -> "np.ndarray | None":
    """Return a role's labels that are not one class a row; None where they are, or where there are none."""
    from titrant.runtime.data.classes import label_kind, targets_of
    from titrant.runtime.data.images.objects import object_labels, resized_objects

    label, kind = data.params.label, label_kind(data.params.task)
    if label is not None and classes is not None and kind in ("mask", "boxes"):
        objects = resized_objects(data.of(role, label), kind, transforms.steps, lambda name: data.of(role, name))
        return object_labels(objects, classes, kind, inputs, label)
    column = None if label is None else data.of(role, label)
    every = [] if label is None else data.everywhere(label, "data.label")
    return targets_of(data.params.task, inputs, label or "", column, every)


def wire(
    columns: "Mapping[str, np.ndarray]", specs: Sequence[TensorParams], stated: "Mapping[str, Part] | None" = None
) -> tuple[dict[str, tuple[str, ...]], dict[str, str], frozenset[str]]:
    """Map each model input to its columns and to its dtype, and name those that are one column of (rows,).

    Without `stated` parts, columns of single values are stacked into one input, "features", and an array is an input of
    its own name; a lone input may be called otherwise by `specs`, of several each is matched by name. Raises
    RecipeError X129 where one is not matched.
    """
    from titrant.runtime.data.wiring import ModelInput, Signature, groups, is_single, match, names_in

    shapes = {spec.name: spec.shape for spec in specs}
    if specs:
        named = tuple(ModelInput(spec.name, spec.shape, spec.dtype) for spec in specs)
        parts = match(Signature(named, renames=True), columns, stated or None)
    elif stated:
        parts = dict(stated)
    else:
        parts = groups(columns)
    inputs = {name: names_in(part) for name, part in parts.items()}
    unstacked = frozenset(
        name
        for name, names in inputs.items()
        if len(names) == 1
        and is_single(columns[names[0]])
        and (len(shapes[name]) <= 1 if name in shapes else isinstance(parts[name], str))
    )
    dtypes = {name: _dtype([columns[column] for column in names], name in unstacked) for name, names in inputs.items()}
    return inputs, dtypes | {spec.name: spec.dtype for spec in specs if spec.name in inputs}, unstacked


def _dtype(columns: "Sequence[np.ndarray]", alone: bool) -> str:
    """Whole numbers in an array, or by themselves, are token numbers and stay int64; pixels and columns are float32."""
    whole = all((column.ndim > 1 or alone) and column.dtype.kind in "iu" and column.dtype.itemsize > 1
                for column in columns)  # fmt: skip
    return "int64" if whole else "float32"
