"""Settle the device, the threads, the engine of the original, the files to release and how weights lie in memory."""

from collections.abc import Iterator
from dataclasses import replace

from titrant.compiler.decide.rule import ExportRequest, Question, RuleAnswer, ThreadCounts, decision
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.runtime.catalog import Declaration, Params
from titrant.schema.cost import ModelUse, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError, RecipeError
from titrant.schema.facts import Gpu, Hardware, ModelFacts
from titrant.schema.plan import Decision, ModelCost, Rejected
from titrant.schema.values.layout import CHANNELS_LAST
from titrant.schema.values.units import format_size, format_time

DEFAULT_NAME = "model"
_INT8 = 8
# A compute capability that every kernel would take.
_NEWEST = "99.0"
_ONLY_THERE = "int8 methods of this version run there only"


def device(question: Question) -> RuleAnswer:
    """Settle the device: the CPU unless the recipe names another one that this machine has.

    `auto` stays on the CPU, where the int8 methods run. Which is faster is told beside it and decides nothing: how fast
    a device is comes from measurements, and the same machine would get another plan after each.
    """
    asked = question.recipe.target.device
    gpus = question.hardware.identity.gpus
    if asked not in ("auto", "cpu"):
        gpu = find_gpu(asked, gpus)
        if gpu is None:
            raise InfeasibleError(_no_device(question, asked))
        line = _device_line(question, asked, asked, f"the recipe names it, and this machine has {gpu.name}")
        return RuleAnswer(asked, (line,), tuple(_tight(question, gpu)))
    if asked == "cpu":
        return RuleAnswer("cpu", (_device_line(question, asked, "cpu", "the recipe names it"),))
    if not gpus:
        return RuleAnswer("cpu", (_device_line(question, asked, "cpu", "this machine has no other"),))
    batch = _largest_batch(question)
    reasons = (_int8_runs(question, gpus[0]), _expected(question, "cpu", batch))
    because = "; ".join(filter(None, reasons))
    rejected = (Rejected(gpus[0].kind, _unused(question, gpus[0], batch)),)
    return RuleAnswer("cpu", (_device_line(question, asked, "cpu", because, rejected),))


def _largest_batch(question: Question) -> int:
    latency = question.recipe.target.latency
    judged: int = 1 if latency is None else latency.batch
    return max(judged, *question.recipe.profile.batches)


def _tight(question: Question, gpu: Gpu) -> Iterator[str]:
    """Warn of a batch whose activations are expected not to fit: how many are held at once is not certain."""
    model, batch = question.model, _largest_batch(question)
    needed = model.weight_bytes + batch * (model.activation_bytes or 0)
    if gpu.memory_bytes is not None and needed > gpu.memory_bytes:
        yield (
            f"weights and the activations of a batch of {batch:,} are expected to take {format_size(needed)} on "
            f"{gpu.name}, which has {format_size(gpu.memory_bytes)}: lower profile.batches, or target.latency.batch"
        )


def _expected(question: Question, name: str, batch: int) -> str:
    """Say how long the original is expected to take on a device; "" where nothing is known of its layers."""
    cost = expected_cost(question, name, batch)
    if cost is None:
        return ""
    seconds = format_time(cost.seconds[str(batch)])
    return f"the original is expected to answer a batch of {batch} in {seconds} ({cost.basis})"


def _int8_runs(question: Question, gpu: Gpu) -> str:
    """Say where the int8 methods run."""
    there, every = _methods_on(question, gpu), int8_methods("cpu")
    return f"{len(every)} int8 methods run there, and {len(there)} on {gpu.kind}" if there else _ONLY_THERE


def int8_methods(device: str) -> tuple[str, ...]:
    """List the methods of 8 bits or fewer that have kernels for a device."""
    named = ((name, catalog.get(catalog.method_operator(name)).method) for name in catalog.quantization_methods())
    return tuple(
        name
        for name, method in named
        if method is not None and any(bits <= _INT8 for bits in method.bits) and method.runs_on(device)
    )


def _methods_on(question: Question, gpu: Gpu) -> tuple[str, ...]:
    """List the methods of 8 bits or fewer whose kernels run on this very GPU, whatever packages are missing yet."""
    named = {name: catalog.get(catalog.method_operator(name)) for name in int8_methods(gpu.kind)}
    return tuple(name for name, item in named.items() if not too_old(question.hardware, gpu, item, item.params()))


def too_old(hardware: Hardware, gpu: Gpu, declaration: Declaration, params: Params) -> tuple[Unmet, ...]:
    """Return what an operator lacks on a GPU that it would not lack on a newer one of the kind."""

    def unmet(gpu: Gpu) -> tuple[Unmet, ...]:
        there = replace(hardware, identity=replace(hardware.identity, gpus=(gpu,)))
        return declaration.requires(params, there, None)

    newest = unmet(replace(gpu, capability=_NEWEST))
    return tuple(each for each in unmet(gpu) if each not in newest)


def _unused(question: Question, gpu: Gpu, batch: int) -> str:
    engine = engine_of(original_kind(question.model))
    lack = backend.get(engine).device_unmet(gpu.kind, question.hardware)
    if lack is not None:
        return f"on {gpu.name} the original does not run: {lack.cause}"
    expected = _expected(question, gpu.kind, batch)
    opening = f"on {gpu.name} {expected}, and " if expected else f"on {gpu.name} "
    methods = _methods_on(question, gpu)
    runs = f"{', '.join(methods)} {'runs' if len(methods) == 1 else 'run'}" if methods else "no int8 method runs"
    return f"{opening}{runs}; to use it all the same write target.device: {gpu.kind}"


def _no_device(question: Question, asked: str) -> Diagnostic:
    gpus = question.hardware.identity.gpus
    source = question.hardware.source
    machine = "this machine" if source == "detected" else source
    there = ", ".join(f"{gpu.kind}:{gpu.index} ({gpu.name})" for gpu in gpus)
    where = question.bound.parsed.source.place(("target", "device"), "value")
    help_text = f"{machine} has {there}, and cpu" if there else "write cpu, or plan for a machine that has one"
    return Diagnostic("P060", f"{machine} has no device {asked}", where, help_text)


def _device_line(
    question: Question, asked: str, chosen: str, because: str, rejected: tuple[Rejected, ...] = ()
) -> Decision:
    rule = "device.auto" if asked == "auto" else "device.written"
    return decision(
        question,
        "target.device",
        rule,
        asked=asked,
        chosen=chosen,
        because=because,
        path=("target", "device"),
        rejected=rejected,
    )


def original_engine(question: Question) -> RuleAnswer:
    """Settle where the original runs: in the engine that its kind belongs to."""
    kind = original_kind(question.model)
    chosen, because = engine_of(kind), f"the original is {kind.title}"
    line = decision(question, "original", "engine.original", asked="", chosen=chosen, because=because, path=("model",))
    return RuleAnswer(chosen, (line,))


def original_kind(model: ModelFacts) -> ModelKind:
    """Return the kind of the original."""
    return backend.kind_of_source(model.source)


def engine_of(kind: ModelKind) -> str:
    """Return the engine that a kind belongs to."""
    return backend.engines_of(kind.name)[0]


def threads(question: Question) -> RuleAnswer:
    """Settle the threads of work that makes bytes and, apart from them, the threads that timing uses."""
    recipe, cores = question.recipe, question.hardware.identity.cores
    making, timing = recipe.reproducibility.threads, recipe.target.threads
    lines = tuple(
        _threads_line(question, path, count, meaning)
        for path, count, meaning in (
            (("reproducibility", "threads"), making, "another number gives other bytes"),
            (("target", "threads"), timing, "gates and timings hold for this number"),
        )
    )
    warnings = tuple(
        f"{key} is {count}, and this machine has {cores} usable cores: timings will be erratic"
        for key, count in (("reproducibility.threads", making), ("target.threads", timing))
        if count > cores
    )
    return RuleAnswer(ThreadCounts(making, timing), lines, warnings)


def _threads_line(question: Question, path: tuple[str, str], count: int, meaning: str) -> Decision:
    written = question.bound.written(*path)
    return decision(
        question,
        ".".join(path),
        "threads.written" if written else "threads.default",
        asked=str(count) if written else "not written",
        chosen=str(count),
        because=f"{'the recipe says so' if written else 'one thread repeats everywhere'}; {meaning}",
        path=path,
    )


def exports(question: Question) -> RuleAnswer:
    """Settle every file to release; each has its own search, and `auto` takes whatever format wins."""
    requests = tuple(
        ExportRequest(
            export.format,
            export.name or _default_name(question, export.format),
            export.opset,
            export.transforms,
            export.external_data,
        )
        for export in question.recipe.export
    )
    for place, request in enumerate(requests):
        if request.opset is not None:
            _check_opset(question, place, request)
        _check_limits(question, place, request)
    return RuleAnswer(requests, tuple(_line(question, place, request) for place, request in enumerate(requests)))


def layout_of(question: Question, form: str, given: str) -> str:
    """Return how the weights of a candidate's convolutions lie in memory, "" as they do by themselves.

    `given` is the kind of model that its file is made of: whatever comes in any other way keeps its own.
    """
    kept = backend.kind_of_format(form).keeps_layout and backend.kinds()[given].layout
    return CHANNELS_LAST if kept and question.recipe.memory.layout == CHANNELS_LAST else ""


def layout(question: Question) -> RuleAnswer:
    """Say where weights lie as the recipe asks, and what lays them out itself; nothing where it does not ask.

    Raises RecipeError R239 where torch neither trains nor runs anything.
    """
    asked, path = question.recipe.memory.layout, ("memory", "layout")
    if not question.bound.written(*path):
        return RuleAnswer(None)
    if asked == "auto":
        because = "which is faster follows from the network and the machine, and another layout rounds otherwise"
        rejected = (Rejected(CHANNELS_LAST, "it is taken where it is written, and timed beside the other"),)
        line = decision(
            question, ".".join(path), "layout.auto", asked=asked, chosen="contiguous", because=because, path=path,
            rejected=rejected,
        )  # fmt: skip
        return RuleAnswer(None, (line,))
    chains, trained = question.settled.chains, question.recipe.train is not None
    last = asked == CHANNELS_LAST
    laid = [chain for chain in chains if (chain.layout if last else backend.kind_of_format(chain.format).keeps_layout)]
    if not laid and not trained and not question.left_out:
        where = question.bound.parsed.source.place(path, "value")
        message = f"nothing is trained, and what runs {', '.join(chain.id for chain in chains)} lays out weights itself"
        advice = "take it out, or ask for a file that torch runs, such as `export: [{format: torchscript}]`"
        raise RecipeError(Diagnostic("R239", message, where, advice))
    beside = "a contiguous conversion is timed beside what is released"
    line = decision(
        question,
        ".".join(path),
        "layout.written",
        asked=asked,
        chosen=f"{asked} in {', '.join([chain.id for chain in laid] + ['training'] * trained)}",
        because=f"the recipe says so; {beside if last else 'each weight in a memory of its own, tied ones in one'}",
        path=path,
        rejected=tuple(Rejected(chain.id, "what runs it does that itself") for chain in chains if chain not in laid),
    )
    return RuleAnswer(None, (line,))


def _default_name(question: Question, form: str) -> str:
    """Name a file that the recipe does not name; several such files must not share a name."""
    unnamed = sum(export.name is None for export in question.recipe.export)
    return DEFAULT_NAME if unnamed < 2 else f"{DEFAULT_NAME}-{form}"


def _check_opset(question: Question, place: int, request: ExportRequest) -> None:
    """Raise InfeasibleError for an operator set that this file cannot be written in."""
    original = original_kind(question.model)
    converters = _opset_converters(original.name, request.format)
    if not converters and request.format in ("auto", original.format):
        message, advice = f"the original is {original.title}, which keeps its own operator set", "leave `opset` out"
    elif not converters:
        message, advice = f"{request.format} has no ONNX operator set", "leave `opset` out"
    else:
        unmet = _opset_unmet(question, converters[0], request.opset)
        if unmet is None:
            return
        message, advice = unmet.cause, unmet.remedy
    where = question.bound.parsed.source.place(("export", place, "opset"), "value")
    raise InfeasibleError(Diagnostic("P063", message, where, advice))


def _check_limits(question: Question, place: int, request: ExportRequest) -> None:
    """Raise InfeasibleError for what a format cannot have: weights apart, or limits of code that is not titrant's."""
    if request.external_data and not backend.kind_of_format(request.format).outside:
        where = question.bound.parsed.source.place(("export", place, "external_data"), "value")
        message = f"a file of format {request.format} keeps its weights itself"
        raise InfeasibleError(Diagnostic("P131", message, where, "take `external_data` out"))
    target = question.recipe.target
    limits = {"latency": target.latency, "throughput": target.throughput, "peak_memory": target.peak_memory}
    named = next((name for name, limit in limits.items() if limit is not None), None)
    if named is None or request.format == "auto" or not (code := backend.kind_of_format(request.format).weights_for):
        return
    message = f"target.{named} is asked, and {request.format} is weights for {code}, which titrant does not time"
    where = question.bound.parsed.source.place(("export", place, "format"), "value")
    raise InfeasibleError(Diagnostic("P130", message, where, f"take target.{named} out, or export another format"))


def _opset_converters(kind: str, form: str) -> tuple[str, ...]:
    """List the operators that convert a kind to a format, or to any, and can be told an operator set."""
    forms = backend.formats() if form == "auto" else (form,)
    chains = (backend.conversion(kind, backend.kind_of_format(name).name) or () for name in forms)
    operators = dict.fromkeys(operator for chain in chains for operator, _ in chain)
    return tuple(name for name in operators if "opset" in catalog.get(name).params.model_fields)


def _opset_unmet(question: Question, operator: str, opset: int | None) -> Unmet | None:
    """Return what speaks against an operator set alone; None where nothing does."""
    declaration = catalog.get(operator)
    params = declaration.params.model_validate({"opset": opset})
    whatever = declaration.requires(declaration.params(), question.hardware, question.model)
    asked = declaration.requires(params, question.hardware, question.model)
    return next((lack for lack in asked if lack not in whatever), None)


def _line(question: Question, place: int, request: ExportRequest) -> Decision:
    if request.format == "auto":
        chosen, because = f"{request.name}, in the winner's format", "the recipe asks for no format"
    else:
        chosen, because = f"{request.name}.{request.format}", "the recipe asks for this format"
    if request.format != "auto" and (code := backend.kind_of_format(request.format).weights_for):
        because += f"; judged by its weights, put back into the original's modules: {code} itself runs nothing here"
    if request.transforms == "inside":
        chosen += ", with its transforms inside: it takes raw columns"
        because += "; what is judged, timed and released is the joined file, beside an original without its transforms"
    if request.external_data:
        chosen += ", its weights in a file beside it"
    return decision(
        question,
        f"export.{place}",
        "export.auto" if request.format == "auto" else "export.written",
        asked=request.format,
        chosen=chosen,
        because=because,
        path=("export", place, "format"),
    )


def find_gpu(device: str, gpus: tuple[Gpu, ...]) -> Gpu | None:
    """Return the accelerator that a device names (cuda, cuda:1, mps); None for the CPU and for one that is missing."""
    kind, _, index = device.partition(":")
    for gpu in gpus:
        if gpu.kind == kind and (not index or gpu.index == int(index)):
            return gpu
    return None


def at_device(hardware: Hardware, device: str) -> Hardware:
    """Return the machine with one device alone: the CPU, or an accelerator without the CPU's instruction sets."""
    gpu = find_gpu(device, hardware.identity.gpus)
    if gpu is None:
        return replace(hardware, identity=replace(hardware.identity, gpus=()))
    return replace(hardware, identity=replace(hardware.identity, gpus=(gpu,), instructions=()))


def expected_cost(question: Question, device: str, batch: int) -> ModelCost | None:
    """Return the expected cost of a batch of the original model on a device; None where its FLOPs are unknown.

    It follows from measured or published speeds, which are not identity facts: it may be shown but must decide nothing.
    """
    if question.model.flops is None:
        return None
    kind = original_kind(question.model)
    declaration = catalog.get("profile.latency")
    params = declaration.params.model_validate(
        {
            "engines": {"original": engine_of(kind)},
            "batches": (batch,),
            "threads": question.recipe.target.threads,
            "device": device,
        }
    )
    work = Work(models={"original": ModelUse(kind=kind.name)})
    return declaration.predict(params, question.hardware, question.model, work).models["original"]
