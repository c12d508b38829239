"""Find the word that a person most likely meant: a misspelt one, or what other tools call it."""

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
    return next(iter(several_nearest(word, choices, 1, least)), None)


def several_nearest(word: str, choices: Iterable[str], most: int, least: float = 0.6) -> list[str]:
    """Return at most so many of the choices that are like a word, the most alike first; `least` is from 0 to 1."""
    candidates = list(choices)
    plain_word = _plain(word[:60])
    if not plain_word:
        return []
    if (synonym := _SYNONYMS.get(word.lower().replace("-", "_"))) in candidates:
        return [synonym]
    alike = [(_ratio(plain_word, _plain(choice)), choice) for choice in candidates]
    return [choice for ratio, choice in sorted(alike, key=lambda pair: -pair[0]) if ratio >= least][:most]


def _ratio(word: str, choice: str) -> float:
    from difflib import SequenceMatcher

    ratio = SequenceMatcher(None, word, choice).ratio()
    return max(ratio, 0.75) if choice.startswith(word) and len(word) >= 3 else ratio


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")
