"""Where things run: the device, the engine of the original, and how many threads."""

from titrant.compiler.rules.question import Answer, Question, decision
from titrant.schema.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import Gpu
from titrant.schema.plan import Decision, Rejected


def device(question: Question) -> Answer:
    """Settle the device: the CPU unless the recipe names another one that this machine has."""
    asked = question.recipe.target.device
    gpus = question.hardware.identity.gpus
    if asked not in ("auto", "cpu"):
        found = _gpu(asked, gpus)
        if found is None:
            raise InfeasibleError(_no_device(question, asked))
        line = _device_line(question, asked, asked, f"the recipe names it, and this machine has {found.name}")
        return Answer(asked, (line,))
    if asked == "cpu":
        return Answer("cpu", (_device_line(question, asked, "cpu", "the recipe names it"),))
    if not gpus:
        return Answer("cpu", (_device_line(question, asked, "cpu", "this machine has no other"),))
    kind, name = gpus[0].kind, gpus[0].name
    because = "the int8 kernels of this version run on the CPU"
    rejected = (Rejected(kind, f"{name} is used only where target.device names it"),)
    return Answer("cpu", (_device_line(question, asked, "cpu", because, rejected),))


def _gpu(asked: str, gpus: tuple[Gpu, ...]) -> Gpu | None:
    kind, _, index = asked.partition(":")
    for gpu in gpus:
        if gpu.kind == kind and (not index or gpu.index == int(index)):
            return gpu
    return None


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


def original_engine(question: Question) -> Answer:
    """Settle where the original runs: a factory's module in torch, an ONNX file in onnxruntime."""
    if question.model.source == "onnx":
        chosen, because = "onnxruntime", "the original is an ONNX file"
    else:
        chosen, because = "torch", "the original is a torch module"
    line = decision(question, "original", "engine.original", asked="", chosen=chosen, because=because, path=("model",))
    return Answer(chosen, (line,))


def threads(question: Question) -> Answer:
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
    return Answer((making, timing), lines, warnings)


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
