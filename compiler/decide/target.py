"""Settle the device, the threads, the engine of the original and the files to release."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from titrant.compiler.decide.rule import ExportRequest, Question, RuleAnswer, ThreadCounts, decision
from titrant.runtime import catalog
from titrant.schema.cost import NOTHING_KNOWN, Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import Gpu, Hardware
from titrant.schema.plan import Decision, ModelCost, Rejected
from titrant.schema.values.units import format_size, format_time

DEFAULT_NAME = "model"


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
    reasons = ("int8 methods of this version run there only", _expected(question, "cpu", batch))
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


def _unused(question: Question, gpu: Gpu, batch: int) -> str:
    engine = "onnxruntime" if question.model.source == "onnx" else "torch"
    lack = engine_lack(engine, gpu.kind, question.hardware.identity.packages)
    if lack is not None:
        return f"on {gpu.name} the original does not run: {lack.cause}"
    expected = _expected(question, gpu.kind, batch)
    opening = f"on {gpu.name} {expected}, and " if expected else f"on {gpu.name} "
    return f"{opening}no int8 method runs; to use it all the same write target.device: {gpu.kind}"


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
    """Settle where the original runs: a factory's module in torch, an ONNX file in onnxruntime."""
    if question.model.source == "onnx":
        chosen, because = "onnxruntime", "the original is an ONNX file"
    else:
        chosen, because = "torch", "the original is a torch module"
    line = decision(question, "original", "engine.original", asked="", chosen=chosen, because=because, path=("model",))
    return RuleAnswer(chosen, (line,))


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
        ExportRequest(export.format, export.name or _default_name(question, export.format), export.opset)
        for export in question.recipe.export
    )
    for place, request in enumerate(requests):
        if request.opset is not None:
            _check_opset(question, place, request)
    return RuleAnswer(requests, tuple(_line(question, place, request) for place, request in enumerate(requests)))


def _default_name(question: Question, form: str) -> str:
    """Name a file that the recipe does not name; several such files must not share a name."""
    unnamed = sum(export.name is None for export in question.recipe.export)
    return DEFAULT_NAME if unnamed < 2 else f"{DEFAULT_NAME}-{form}"


def _check_opset(question: Question, place: int, request: ExportRequest) -> None:
    """Raise InfeasibleError for an operator set that this file cannot be written in."""
    if request.format not in ("auto", "onnx"):
        message, advice = f"{request.format} has no ONNX operator set", "leave `opset` out"
    elif question.model.source == "onnx":
        message, advice = "the original is an ONNX file, which keeps its own operator set", "leave `opset` out"
    else:
        declaration = catalog.get("export.onnx")
        params = declaration.params.model_validate({"opset": request.opset})
        whatever = declaration.requires(declaration.params(), question.hardware, question.model)
        unmet = [
            lack for lack in declaration.requires(params, question.hardware, question.model) if lack not in whatever
        ]
        if not unmet:
            return
        message, advice = unmet[0].cause, unmet[0].remedy
    where = question.bound.parsed.source.place(("export", place, "opset"), "value")
    raise InfeasibleError(Diagnostic("P063", message, where, advice))


def _line(question: Question, place: int, request: ExportRequest) -> Decision:
    if request.format == "auto":
        chosen, because = f"{request.name}, in the winner's format", "the recipe asks for no format"
    else:
        chosen, because = f"{request.name}.{request.format}", "the recipe asks for this format"
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


def engine_lack(engine: str, device: str, packages: Mapping[str, str]) -> Unmet | None:
    """Return why an engine does not run on a device; None where it does."""
    if engine != "onnxruntime" or device == "cpu":
        return None
    if device == "mps":
        remedy = "target.engine torch does, with export torchscript"
        return Unmet("onnxruntime does not compute on Metal", remedy)
    if "onnxruntime-gpu" not in packages:
        return Unmet(f"onnxruntime on {device} needs the package onnxruntime-gpu", "pip install onnxruntime-gpu")
    return None


def expected_cost(question: Question, device: str, batch: int) -> ModelCost | None:
    """Return the expected cost of a batch of the original model on a device; None where its FLOPs are unknown.

    It follows from measured or published speeds, which are not identity facts: it may be shown but must decide nothing.
    """
    if question.model.flops is None:
        return None
    engine = "onnxruntime" if question.model.source == "onnx" else "torch"
    declaration = catalog.get("profile.latency")
    params = declaration.params.model_validate(
        {
            "engines": {"original": engine},
            "batches": (batch,),
            "threads": question.recipe.target.threads,
            "device": device,
        }
    )
    return declaration.predict(params, question.hardware, question.model, NOTHING_KNOWN).models["original"]
