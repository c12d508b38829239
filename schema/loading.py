"""What loading a library costs a worker: seconds, as a share of what starting a worker with torch takes."""

from titrant.schema.facts import Bench

# Measured with torch 2.13, scikit-learn 1.9, pandas 3 and matplotlib 3.11, each after what is loaded before it in a
# run; starting a worker with torch took 2.9 s there. What is not here is small.
_SHARES = {
    "torch": 0.83,
    "sklearn.datasets": 0.57,
    "matplotlib.pyplot": 0.29,
    "pandas": 0.15,
    "pyarrow.parquet": 0.1,
    "scipy.stats": 0.35,
    "torch._dynamo": 0.8,
    "torch.onnx": 0.02,
    "onnx": 0.05,
    "onnxruntime": 0.02,
    "onnxruntime.quantization": 0.03,
    "titrant.runtime.report.write": 0.06,
}
_SMALL = 0.01
# Stands beside the libraries that a step needs: starting the process itself.
WORKER = "worker"
# Where nothing was measured.
_WORKER_SECONDS = 3.0


def worker_seconds(bench: Bench | None) -> float:
    """Return the seconds until a worker has started, without torch."""
    return _started(bench) * (1 - _SHARES["torch"])


def loading_seconds(module: str, bench: Bench | None) -> float:
    """Return the seconds that a module takes to load."""
    return _started(bench) * _SHARES.get(module, _SMALL)


def _started(bench: Bench | None) -> float:
    return (bench.import_seconds if bench is not None else None) or _WORKER_SECONDS
