"""What Olive does of the job of `digits_by_hand.py`, by its own configuration: export, int8, evaluate, time.

Run as `python digits_by_olive.py OUT` in a folder with `weights.safetensors` and `rows.npz`, where Olive is installed.
It times at the batch size of its rows alone, 64, where the others time three sizes.
"""

import os
import sys
from pathlib import Path
from typing import Any

EXPORT = {"type": "OnnxConversion", "target_opset": 17, "use_dynamo_exporter": False}
INT8 = {
    "type": "OnnxStaticQuantization", "data_config": "calibration", "quant_format": "QDQ", "per_channel": True,
    "reduce_range": True, "activation_type": "uint8", "precision": "int8",
}  # fmt: skip
SHAPES = {
    "input_names": ["image"], "input_shapes": [[1, 1, 8, 8]], "input_types": ["float32"], "output_names": ["logits"],
    "dynamic_axes": {"image": {"0": "batch"}, "logits": {"0": "batch"}},
}  # fmt: skip
METRICS = [
    {
        "name": "accuracy",
        "type": "accuracy",
        "data_config": "evaluation",
        "sub_types": [
            {"name": "accuracy_score", "priority": 1, "metric_config": {"task": "multiclass", "num_classes": 10}}
        ],
    },
    {
        "name": "latency",
        "type": "latency",
        "data_config": "evaluation",
        "sub_types": [{"name": "avg", "priority": 2, "metric_config": {"warmup_num": 10, "repeat_test_num": 100}}],
    },
]


def load_model(*_: object) -> Any:
    """Return the trained network."""
    from safetensors.torch import load_file

    from titrant.recipes.models import DigitsNet

    model = DigitsNet(classes=10)
    model.load_state_dict(load_file("weights.safetensors"))
    return model.eval()


def enter_rows() -> None:
    """Tell Olive how rows are read, and what a class is."""
    import numpy as np
    from olive.data.registry import Registry
    from torch.utils.data import Dataset

    class Rows(Dataset):  # type: ignore[type-arg]
        def __init__(self, role: str) -> None:
            rows = np.load("rows.npz")
            self.images, self.labels = rows[role], rows[f"{role}_labels"]

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, place: int) -> tuple[dict[str, Any], int]:
            return {"image": self.images[place]}, int(self.labels[place])

    Registry.register_dataset("digits_rows")(lambda role, **_: Rows(role))
    Registry.register_post_process("digits_classes")(lambda answer, **_: answer.argmax(dim=1))


def configuration(out: Path) -> dict[str, Any]:
    """Return what is asked of Olive."""
    rows = [
        {
            "name": role,
            "type": "DataContainer",
            "load_dataset_config": {"type": "digits_rows", "role": role},
            "post_process_data_config": {"type": "digits_classes"},
            "dataloader_config": {"type": "default_dataloader", "batch_size": size},
        }
        for role, size in (("calibration", 32), ("evaluation", 64))
    ]
    # An evaluator without a type, which would fit both models, cannot be read by Olive 0.13 with pydantic 2.
    return {
        "input_model": {"type": "PyTorchModel", "model_loader": load_model, "io_config": SHAPES},
        "data_configs": rows,
        "passes": {
            "export": EXPORT,
            "int8": {**INT8, "evaluator": {"type": "OnnxEvaluator", "metrics": METRICS}},
        },
        "evaluators": {"original": {"type": "PyTorchEvaluator", "metrics": METRICS}},
        "evaluator": "original",
        "evaluate_input_model": True,
        "cache_dir": str(out / "cache"),
        "output_dir": str(out / "model"),
        "log_severity_level": 3,
    }


def main() -> None:
    """Run the workflow."""
    os.environ.setdefault("OLIVE_DISABLE_TELEMETRY", "1")
    from olive.workflows import run

    enter_rows()
    run(configuration(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
