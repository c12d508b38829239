"""What a device means for a candidate: the hardware that computes, the engines that run there, the expected cost."""

from collections.abc import Mapping
from dataclasses import replace

from titrant.compiler.rules.question import Question
from titrant.runtime import catalog
from titrant.schema.facts import Gpu, Hardware
from titrant.schema.plan import ModelCost
from titrant.schema.work import NOTHING_KNOWN


def find_gpu(device: str, gpus: tuple[Gpu, ...]) -> Gpu | None:
    """Return the accelerator that a device names (cuda, cuda:1, mps); None for the CPU and for one that is missing."""
    kind, _, index = device.partition(":")
    for gpu in gpus:
        if gpu.kind == kind and (not index or gpu.index == int(index)):
            return gpu
    return None


def at_device(hardware: Hardware, device: str) -> Hardware:
    """Return the machine with one device alone: the CPU, or an accelerator without the CPU's instruction sets."""
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
