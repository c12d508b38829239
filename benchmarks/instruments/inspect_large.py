"""Measure `titrant inspect` of a large ONNX file, with and without a drawing, against its budget of two seconds.

    python benchmarks/instruments/inspect_large.py [--nodes 10000] [--runs 3]

Figures are processor seconds of whole processes, their children included, with one thread and a fresh home: wall time
says nothing on a machine that is shared. Prints the least of the runs, and exits 1 when a first look misses it; a
drawing beside it takes longer.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

BUDGET_SECONDS = 2.0


def write(file: Path, nodes: int) -> None:
    """Write a chain of residual blocks of four nodes, named as torch's exporter names them."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph_nodes, weights, read = [], [], "x"
    for place in range(nodes // 4):
        weights.append(numpy_helper.from_array(np.ones((16, 16), np.float32), f"w{place}"))
        weights.append(numpy_helper.from_array(np.arange(16, dtype=np.float32), f"b{place}"))
        for kind, takes, gives in (
            ("MatMul", [read, f"w{place}"], f"m{place}"), ("Add", [f"m{place}", f"b{place}"], f"a{place}"),
            ("Relu", [f"a{place}"], f"r{place}"), ("Add", [f"r{place}", read], f"s{place}"),
        ):  # fmt: skip
            graph_nodes.append(helper.make_node(kind, takes, [gives], name=f"/blocks/blocks.{place}/{gives[0]}/{kind}"))
        read = f"s{place}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 16]) for name in ("x", read)]
    graph = helper.make_graph(graph_nodes, "large", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, file)


def processor_seconds(arguments: list[str], home: Path) -> float:
    """Return what a command and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "titrant", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure, print and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, page = folder / "large.onnx", folder / "large.html"
        write(file, options.nodes)
        cases = {
            "first look": ["inspect", str(file)],
            "drawn": ["inspect", str(file), "--out", str(page)],
        }
        least = dict.fromkeys([*cases, "drawn again"], float("inf"))
        for run in range(options.runs):
            for case, arguments in cases.items():
                home = folder / f"{case} {run}"
                least[case] = min(least[case], processor_seconds(arguments, home))
                if case == "drawn":
                    least["drawn again"] = min(least["drawn again"], processor_seconds(arguments, home))
        for case, seconds in least.items():
            print(f"{case:12} {seconds:5.2f} s of {BUDGET_SECONDS:.1f} s")
        print(f"page         {page.stat().st_size / 1e6:5.2f} MB")
    return int(least["first look"] > BUDGET_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
