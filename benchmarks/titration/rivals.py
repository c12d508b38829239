"""Let NNCF's accuracy control work on the plain file, and time all files in turns: python rivals.py REQUEST ANSWER.

One process, one thread. The request (JSON) is {"seed", "points", "plain": ONNX file, "files": {name: outputs folder},
"rounds", "nncf": where its file goes, "" for none}. The answer is {"nncf": what it took and lost, null where it was not
asked or failed, "failed": its error, "lost": {name: {"tuning", "judge": points of accuracy lost}}, "rounds": {name:
[process CPU seconds of one run at batch 1, a round each]}}; the rounds are shared by all files, which run in an order
drawn anew, each for some 2 ms behind a run off the clock.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from halves import load

BLOCK_SECONDS, BATCH = 2e-3, 100
Part = Mapping[str, np.ndarray]
Answering = Callable[[np.ndarray], np.ndarray]


def answering(file: Path | str | bytes) -> Answering:
    """Return what answers images with classes, in a session as titrant opens it: one thread, no spinning."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    given = file if isinstance(file, bytes) else str(file)
    session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def right(answer: Answering, rows: Part) -> np.ndarray:
    """Say of every row whether its class was found."""
    starts = range(0, len(rows["label"]), BATCH)
    logits = np.concatenate([answer(rows["image"][start : start + BATCH]) for start in starts])
    return logits.argmax(1) == rows["label"]


def accuracy_control(plain: Path, file: Path, parts: Mapping[str, Part], points: float) -> dict[str, Any]:
    """Run `nncf.quantize_with_accuracy_control` on the tuning rows, and count what it evaluates.

    An evaluation is a pass over all tuning rows by a whole model; passes over its ranking subset are counted apart.
    """
    import nncf
    import onnx

    nncf.set_log_level(logging.ERROR)
    rows, whole, ranking = parts["tuning"], [], []

    def validate(model: Any, items: Any) -> tuple[float, list[float]]:
        places = np.array(list(items))
        some = {name: array[places] for name, array in rows.items()}
        (whole if len(places) == len(rows["label"]) else ranking).append(len(places))
        correct = right(answering(model.SerializeToString()), some)
        return float(correct.mean()), correct.astype(float).tolist()

    images = parts["calibration"]["image"]
    name = onnx.load(plain).graph.input[0].name
    begun = time.process_time()
    model = nncf.quantize_with_accuracy_control(
        onnx.load(plain),
        nncf.Dataset([image[None] for image in images], lambda image: {name: image}),
        nncf.Dataset(list(range(len(rows["label"])))),
        validate,
        max_drop=points / 100,
        subset_size=len(images),
    )
    onnx.save(model, file)
    return {
        # The original is evaluated too, as it is by titrant.
        "evaluations": len(whole) - 1,
        "ranking": len(ranking),
        "ranking_rows": sum(ranking),
        "cpu": time.process_time() - begun,
        "bytes": file.stat().st_size,
    }


def released(folder: str) -> Answering:
    """Return what answers images by a released file, as its users load it."""
    from titrant.runtime.serve.released import load as load_folder

    session = load_folder(folder, threads=1)._session
    name = session.input_names[0]
    return lambda image: next(iter(session.run({name: image}).values()))


def in_turns(files: Mapping[str, Answering], image: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Time one image of every file in turns."""
    generator, names = np.random.default_rng(0), list(files)
    repeats = {}
    for name, answer in files.items():
        for _ in range(5):
            answer(image)
        begun = time.process_time()
        for _ in range(5):
            answer(image)
        repeats[name] = max(1, round(BLOCK_SECONDS * 5 / max(time.process_time() - begun, 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for place in generator.permutation(len(names)):
            name = names[place]
            files[name](image)
            begun = time.process_time()
            for _ in range(repeats[name]):
                files[name](image)
            found[name].append((time.process_time() - begun) / repeats[name])
    return found


def main(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request."""
    parts = load(request["seed"])
    files = {name: released(folder) for name, folder in request["files"].items()}
    files["plain"] = answering(request["plain"])
    nncf, failed = None, ""
    if request["nncf"]:
        try:
            nncf = accuracy_control(Path(request["plain"]), Path(request["nncf"]), parts, request["points"])
            files["nncf"] = answering(request["nncf"])
        except RuntimeError as error:  # what NNCF and onnxruntime raise of a graph that they cannot take
            failed = str(error).splitlines()[0]
    lost: dict[str, dict[str, float]] = {name: {} for name in files}
    for part in ("tuning", "judge"):
        correct = {name: right(answer, parts[part]) for name, answer in files.items()}
        for name, found in correct.items():
            lost[name][part] = 100 * float(correct["plain"].mean() - found.mean())
    rounds = in_turns(files, parts["tuning"]["image"][:1], request["rounds"])
    return {"nncf": nncf, "failed": failed, "lost": lost, "rounds": rounds}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), "utf-8")
