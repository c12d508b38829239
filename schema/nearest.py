"""Find what a person most likely meant."""

from collections.abc import Iterable

# What other tools call it → what it is called here.
_SYNONYMS = {
    "lr": "learning_rate",
    "test": "evaluation",
    "val": "tuning",
    "valid": "tuning",
    "validation": "tuning",
    "dev": "tuning",
    "calib": "calibration",
    "dataset": "data",
    "target": "label",
    "labels": "label",
    "features": "inputs",
    "max_epochs": "epochs",
    "batchsize": "batch_size",
    "fp32": "float32",
    "float": "float32",
    "fp16": "float16",
    "half": "float16",
    "double": "float64",
    "int": "int64",
    "long": "int64",
    "pretrained": "weights",
    "checkpoint": "weights",
    "state_dict": "weights",
    "class": "factory",
    "architecture": "factory",
    "params": "args",
    ">=": "at_least",
    ">": "at_least",
    "ge": "at_least",
    "gte": "at_least",
    "<=": "at_most",
    "<": "at_most",
    "le": "at_most",
    "lte": "at_most",
    "speed": "latency",
    "memory": "peak_memory",
    "accuracy_retention": "retention",
    "classification": "multiclass_classification",
    "binary": "binary_classification",
    "multiclass": "multiclass_classification",
    "median": "p50",
    "gpu": "cuda",
    "ort": "onnxruntime",
    "torch_script": "torchscript",
    "min": "at_least",
    "max": "at_most",
    "auc": "auroc",
    "recall": "sensitivity",
    "f1_score": "f1",
    "standard_scaler": "standardize",
    "onehot": "one_hot",
}


def nearest(word: str, choices: Iterable[str], least: float = 0.6) -> str | None:
    """Return the choice most like a word, or None when none is like it; case, `-` and `_` do not count."""
    from difflib import SequenceMatcher

    known = list(choices)
    wanted = _plain(word[:60])
    if not wanted:
        return None
    if (synonym := _SYNONYMS.get(word.lower().replace("-", "_"))) in known:
        return synonym
    best, best_ratio = None, least
    for choice in known:
        ratio = SequenceMatcher(None, wanted, _plain(choice)).ratio()
        if _plain(choice).startswith(wanted) and len(wanted) >= 3:
            ratio = max(ratio, 0.75)
        if ratio > best_ratio or (best is None and ratio >= least):
            best, best_ratio = choice, ratio
    return best


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")
