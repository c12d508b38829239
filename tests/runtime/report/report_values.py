"""What the steps of a hand-made run answered: timings, quality, curves and changed decisions."""

import numpy as np
from report_plans import METHODS

from titrant.runtime.contract.answers import count_answers
from titrant.schema.values.canonical import plain

SIZES = {"onnx": 41_204, "ort-dynamic": 15_873, "ort-static": 13_120, "torch-dynamic": 24_310}
SPEED = {"original": 61e-6, "onnx": 14.2e-6, "ort-dynamic": 19.1e-6, "ort-static": 11.9e-6}


def answers(lost=1, gained=1):
    """64 malignant and 107 benign cases; the original is wrong on 5 of them."""
    labels = np.array([0] * 64 + [1] * 107)
    original = labels.copy()
    original[[0, 1, 2]] = 1
    original[[64, 65]] = 0
    candidate = original.copy()
    candidate[:gained] = 0
    candidate[10 : 10 + lost] = 1
    return plain(count_answers(("malignant", "benign"), labels, original, candidate, 0))


def timings(names):
    def one(p50, peak):
        batches = {}
        for batch, growth in ((1, 1.0), (8, 1.6), (32, 3.4)):
            half = p50 * growth
            samples = [half * (0.97 + 0.001 * index) for index in range(59)]
            batches[str(batch)] = {
                "p50": half,
                "p95": half * 1.4,
                "p99": half * 1.9,
                "samples": samples,
                "throughput": batch / half,
            }
        return batches | {"peak_bytes": peak}

    return {
        name: one(SPEED[name], 900_000 if name == "original" else 310_000 + SIZES[name])
        for name in names
        if name in SPEED
    }


def quality(names):
    def one(accuracy, agreement):
        figures = {"accuracy": 55 / 57, "auroc": 0.991, "brier": 0.024}
        after = figures | {"accuracy": accuracy}
        return {
            "rows": 57,
            "original": figures,
            "candidate": after,
            "agreement": agreement,
            "retention": accuracy / (55 / 57),
        }

    return {
        name: one(55 / 57 if name != "ort-dynamic" else 54 / 57, 1.0 if name == "onnx" else 56 / 57) for name in names
    }


def sensitivity(*, checked=True):
    regions = [
        {"name": name, "layers": layers, "kl": kl}
        for name, layers, kl in (
            ("net.0", ["net.0"], 2e-3),
            ("net.2..net.4", ["net.2", "net.4"], 0.0),
            ("out", ["out"], 3e-5),
        )
    ]
    regions[1]["inseparable"] = True
    truth = {"net.0": 1.8e-3, "net.2..net.4": 0.0, "out": 4e-5}
    check = {"rows": 900, "regions": truth, "whole": 2.1e-3, "spearman": 1.0, "ratio": 0.93}
    return {"regions": regions, "whole": 2.4e-3, "rows": 256, **({"check": check} if checked else {})}


def curves():
    epochs = range(30)
    loss = [0.68 * 0.86**epoch + 0.03 for epoch in epochs]
    tuning = [0.66 * 0.87**epoch + 0.07 + 0.0015 * max(0, epoch - 20) for epoch in epochs]
    accuracy = [min(55, 36 + 2 * epoch) / 57 for epoch in epochs]
    return {"loss": loss, "tuning_loss": tuning, "tuning_accuracy": accuracy, "best_epoch": 23}


def values(changes=None, **more):
    names = ("original", *METHODS)
    return {
        "timings": timings(names),
        "quality": quality(["onnx", "ort-dynamic", "ort-static"]),
        "point": {"kind": "threshold", "threshold": 0.5, "source": "the default"},
        "sensitivity": {"ort-static": sensitivity()},
        "curves": curves(),
        "answers": changes or {},
    } | more
