"""Check the quantization method: its options, its bits, and whether model, engine and formats can go with it."""

from collections.abc import Iterator

from pydantic import ValidationError

from titrant.compiler.checks.look import Finding, Look, meant
from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration, Method

# engine → the formats that it runs, and format → the engine that runs it, in this version.
FORMATS_OF = {"torch": ("torchscript",), "onnxruntime": ("onnx",)}
ENGINE_OF = {form: engine for engine, forms in FORMATS_OF.items() for form in forms}


def method_fits(look: Look) -> Iterator[Finding]:
    """Check an explicit method against its operator, the model, the engine and every format asked for."""
    quantization = look.recipe.quantization
    declaration = _declaration(quantization.method)
    if declaration is None or declaration.method is None:
        yield from _options_without_method(look)
        return
    method = declaration.method
    yield from _options(look, declaration)
    if quantization.bits != "auto" and quantization.bits not in method.bits:
        offers = " or ".join(f"`{bits}`" for bits in method.bits)
        message = f"`{method.name}` does not offer {quantization.bits} bits"
        yield look.finding("R108", ("quantization", "bits"), message, f"it offers {offers}; or leave `bits` out")
    if method.takes == "torch" and look.recipe.model.onnx is not None:
        message = f"`{method.name}` takes a torch module, and the model is an ONNX file"
        advice = "choose `ort.static` or `ort.dynamic`, or give the model as a `factory`"
        yield look.finding("R108", ("quantization", "method"), message, advice)
        return
    yield from _formats(look, method)
    yield from _engine(look, method)


def _declaration(method: str) -> Declaration | None:
    if method in ("auto", "none") or ":" in method:
        return None
    operator = catalog.method_operator(method)
    return catalog.get(operator) if operator in catalog.names() else None


def _options_without_method(look: Look) -> Iterator[Finding]:
    method = look.recipe.quantization.method
    if look.recipe.quantization.options and method in ("auto", "none"):
        message = f"`options` are an operator's own, and `method` is `{method}`"
        advice = "name the method that they belong to, or take them out"
        yield look.finding("R107", ("quantization", "options"), message, advice, part="key")


def _options(look: Look, declaration: Declaration) -> Iterator[Finding]:
    """Validate the options against the operator's parameters; each error stands under its own option."""
    from titrant.schema.canonical import canonical_json

    options = look.recipe.quantization.options
    try:
        declaration.params.model_validate_json(canonical_json(dict(options)))
    except ValidationError as error:
        for one in error.errors(include_url=False):
            name = str(one["loc"][0]) if one["loc"] else ""
            path = ("quantization", "options", name)
            if one["type"] == "extra_forbidden":
                message = f"`{declaration.method.name if declaration.method else ''}` has no option `{name}`"
                advice = meant(name, declaration.params.model_fields, "its options are")
                yield look.finding("R107", path, message, advice, part="key")
            else:
                field = declaration.params.model_fields.get(name)
                described = field.description if field is not None else ""
                yield look.finding("R107", path, f"`{name}`: {_plain(str(one['msg']))}", described or "")


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:]


def _formats(look: Look, method: Method) -> Iterator[Finding]:
    for place, export in enumerate(look.recipe.export):
        if export.format in ENGINE_OF and export.format != method.format:
            message = f"`{export.format}` cannot hold what `{method.name}` makes"
            advice = f"write `{method.format}`, or choose another method"
            yield look.finding("R108", ("export", place, "format"), message, advice)


def _engine(look: Look, method: Method) -> Iterator[Finding]:
    engine = look.recipe.target.engine
    if engine in FORMATS_OF and engine != method.engine:
        message = f"`{method.name}` runs in {method.engine}, and `target.engine` is `{engine}`"
        advice = f"write `{method.engine}`, or choose another method"
        yield look.finding("R108", ("target", "engine"), message, advice)


def formats_fit(look: Look) -> Iterator[Finding]:
    """Check formats against the model and the engine, and that no two files get one name."""
    recipe = look.recipe
    engine = recipe.target.engine
    if recipe.model.onnx is not None and engine == "torch":
        message = "an ONNX file runs in onnxruntime, and `target.engine` is `torch`"
        yield look.finding("R108", ("target", "engine"), message, "write `onnxruntime` or `auto`")
    for place, export in enumerate(recipe.export):
        path = ("export", place, "format")
        if recipe.model.onnx is not None and export.format == "torchscript":
            message = "an ONNX file cannot become TorchScript"
            yield look.finding("R108", path, message, "write `onnx`, or give the model as a `factory`")
        elif recipe.model.onnx is not None and export.opset is not None:
            message = "an ONNX file keeps its own opset"
            yield look.finding("R108", ("export", place, "opset"), message, "take `opset` out", part="key")
        elif (
            _open(look)
            and engine in FORMATS_OF
            and export.format in ENGINE_OF
            and export.format not in FORMATS_OF[engine]
        ):
            message = f"`{export.format}` runs in {ENGINE_OF[export.format]}, and `target.engine` is `{engine}`"
            yield look.finding("R108", path, message, f"write `{FORMATS_OF[engine][0]}`, or another engine")
    yield from _names(look)


def _open(look: Look) -> bool:
    """Whether no single method settles engine and format, in which case `method_fits` has looked at both."""
    return look.recipe.quantization.method in ("auto", "none")


def _names(look: Look) -> Iterator[Finding]:
    exports = look.recipe.export
    winners = {export.name or "model" for export in exports if export.format == "auto"}
    for place, export in enumerate(exports):
        if export.format != "auto" and (export.name or "model") in winners:
            message = f"this file and the one of format `auto` would both be named `{export.name or 'model'}`"
            yield look.finding("R115", ("export", place), message, "give one of them a `name`")
