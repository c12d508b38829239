"""What a device means to a candidate: what computes there, which engines run on it, and how fast it may be."""

from collections.abc import Mapping
from dataclasses import replace

from titrant.compiler.rules.question import Question
from titrant.runtime import catalog
from titrant.schema.facts import Gpu, Hardware
from titrant.schema.plan import ModelCost
from titrant.schema.work import NOTHING_KNOWN


def find_gpu(device: str, gpus: tuple[Gpu, ...]) -> Gpu | None:
    """Return the accelerator that a device names (cuda, cuda:1, mps); None for the CPU and where it is not there."""
    kind, _, index = device.partition(":")
    for gpu in gpus:
        if gpu.kind == kind and (not index or gpu.index == int(index)):
            return gpu
    return None


def at_device(hardware: Hardware, device: str) -> Hardware:
    """Return the machine as a model on one device meets it: no accelerator on the CPU, and on one no processor."""
    found = find_gpu(device, hardware.identity.gpus)
    if found is None:
        return replace(hardware, identity=replace(hardware.identity, gpus=()))
    return replace(hardware, identity=replace(hardware.identity, gpus=(found,), instructions=()))


def engine_lack(engine: str, device: str, packages: Mapping[str, str]) -> str:
    """Say why an engine does not run on a device, with a remedy; "" where it does."""
    if engine != "onnxruntime" or device == "cpu":
        return ""
    if device == "mps":
        return "onnxruntime does not compute on Metal: target.engine torch does, with export torchscript"
    if "onnxruntime-gpu" not in packages:
        return f"onnxruntime on {device} needs the package onnxruntime-gpu: pip install onnxruntime-gpu"
    return ""


def expected_cost(question: Question, device: str, batch: int) -> ModelCost | None:
    """Return what the original is expected to take for a batch on a device; None where its layers are not known.

    It comes from what was measured or published, which is no identity fact: it may be told, and must decide nothing.
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
