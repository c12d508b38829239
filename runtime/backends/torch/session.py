"""Run modules and TorchScript files in PyTorch."""

import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from titrant.runtime.backends import recurrent
from titrant.runtime.backends.session import Spec, checked, insisted_batch
from titrant.runtime.values import Recurrence
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import TorchModel, TorchScriptModel


def open_session(model: "TorchModel | TorchScriptModel", *, threads: int, device: str = "cpu") -> "TorchSession":
    """Load a TorchModel (its own module on the CPU, a copy elsewhere) or a TorchScriptModel.

    Raises StepError X212 for a file that torch cannot load, X220 for a device that is not there.
    """
    from titrant.runtime.values import TorchModel

    need_device(device)
    if isinstance(model, TorchModel):
        return TorchSession(_placed(model, device), Border.of(model), threads, device)
    module, border = load_script(model, device)
    # The file says in which order it was traced; its own graph may call the arguments anything.
    return TorchSession(partial(module), border, threads, device)


@dataclass(frozen=True)
class Border:
    """What a model takes and gives: its inputs and the names of its outputs, and the recurrent state among them.

    `layers` names the module that each call with weights of a file computes, in their order.
    """

    inputs: tuple[Spec, ...]
    outputs: tuple[str, ...]
    recurrence: Recurrence | None = None
    layers: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: "TorchModel") -> "Border":
        """Return a live model's."""
        return cls(model.inputs, model.outputs, model.recurrence)

    def written(self) -> dict[str, Any]:
        """Return what the `titrant.json` in a file is to say."""
        said: dict[str, Any] = {"inputs": self.inputs, "outputs": self.outputs}
        return said if self.recurrence is None else {**said, "recurrence": recurrent.written(self.recurrence)}

    @classmethod
    def read(cls, text: str, file: str) -> "Border":
        """Return what the `titrant.json` in a file says; StepError X212 for a file without one."""
        if not text:
            raise StepError(
                Diagnostic(
                    "X212",
                    f"{file} does not say what its inputs and outputs are",
                    help="export the model with titrant, which adds titrant.json to the file",
                )
            )
        said = json.loads(text)
        specs: tuple[Spec, ...] = tuple((name, tuple(shape), dtype) for name, shape, dtype in said["inputs"])
        return cls(specs, tuple(said["outputs"]), recurrent.read(said.get("recurrence")), tuple(said.get("layers", ())))


def load_script(model: "TorchScriptModel", device: str = "cpu") -> tuple[Callable[..., Any], Border]:
    """Load a TorchScript file and what its `titrant.json` says of its inputs and outputs."""
    import torch

    extra = {"titrant.json": ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers its .pt2 archives by now
            module = torch.jit.load(str(model.path), map_location=device, _extra_files=extra)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise StepError(
            Diagnostic(
                "X212",
                f"torch cannot load {model.path.name}: {first_line(error)}",
                help="the file is damaged, or needs another torch: export it again",
            )
        ) from None
    return module, Border.read(extra["titrant.json"], model.path.name)


class TorchSession:
    """A loaded module; `fixed_batch` is the batch size it insists on, or None."""

    def __init__(
        self,
        module: Callable[..., Any],
        border: Border,
        threads: int,
        device: str,
    ) -> None:
        import torch

        self._module = module
        self._threads = threads
        self._device = device
        # A scripted module that may be trained cannot run in inference mode.
        scripted = isinstance(module, torch.jit.ScriptModule)
        self._inference: Callable[[], AbstractContextManager[Any]] = torch.no_grad if scripted else torch.inference_mode
        from titrant.runtime.backends.torch.arguments import arguments_of

        self.specs = border.inputs
        self.recurrence = border.recurrence
        self.input_names = tuple(name for name, _, _ in border.inputs)
        self._arguments = arguments_of(module, self.input_names)
        self.output_names = border.outputs
        self.fixed_batch = insisted_batch(recurrent.stateless(border.inputs, border.recurrence))

    @property
    def module(self) -> Any:
        """What is called: a module, or what calls a file's."""
        return self._module

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, name → (batch, …) out, fp32 where the model answers in 16 bits.

        Raises StepError X201 for a batch that the model does not take and X221 when its forward fails.
        """
        return self._answers(checked(self.specs, inputs), shared=False)

    def prepared(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
        """Return a call with one batch, which is looked at here and no more in the call; StepError as `run` does.

        It copies the batch in each call where the forward writes into what it is given.
        """
        from titrant.runtime.backends.torch.determinism import tensor_of

        arrays, tried = (
            {name: tensor_of(array, copy=True).numpy() for name, array in checked(self.specs, inputs).items()}
            for _ in range(2)
        )
        self._answers(tried, shared=True)
        writes = any(array.tobytes() != arrays[name].tobytes() for name, array in tried.items())
        return partial(self._answers, arrays, shared=not writes)

    def _answers(self, arrays: Mapping[str, np.ndarray], *, shared: bool) -> dict[str, np.ndarray]:
        from titrant.runtime.backends.torch.call import answer_of, named, tensors_of

        with self._inference():
            _use_threads(self._threads)
            answer = answer_of(self._module, tensors_of(arrays, self._device, shared=shared), self._arguments)
            return {name: _array(tensor) for name, tensor in named(answer, self.output_names).items()}

    def close(self) -> None:
        """Free the model."""
        del self._module

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _array(tensor: "torch.Tensor") -> np.ndarray:
    if tensor.element_size() == 2 and tensor.is_floating_point():
        tensor = tensor.float()  # NumPy has no bfloat16
    array: np.ndarray = tensor.numpy(force=True)
    return array


def _use_threads(threads: int) -> None:
    import torch

    # Asking is cheap; setting rebuilds the thread pool.
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _placed(model: "TorchModel", device: str) -> "torch.nn.Module":
    import copy

    if device == "cpu":
        return model.module.eval()
    return copy.deepcopy(model.module).eval().to(device)


def need_device(device: str) -> None:
    """Raise StepError X220 for a device that torch does not see."""
    import torch

    kind, _, index = device.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(kind, 0)
    if not (index or "0").isdecimal() or int(index or 0) >= there:
        raise StepError(
            Diagnostic("X220", f"torch sees no device {device} here", help="set target.device to auto or cpu")
        )
