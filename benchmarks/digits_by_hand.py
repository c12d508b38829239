"""What a careful engineer would write for digits without titrant: export, static int8, evaluate both, time both.

Run as `python digits_by_hand.py WEIGHTS.safetensors SPLIT.npz OUT`: the weights of a trained `DigitsNet`, and the
calibration and evaluation rows, so that training is left out.
"""

import sys
import time
import warnings
from pathlib import Path


def main() -> None:
    weights, rows_file, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    import numpy as np
    import onnxruntime as ort
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from safetensors.torch import load_file

    from titrant.recipes.models import DigitsNet

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    rows = np.load(rows_file)
    calibration, images, labels = rows["calibration"], rows["evaluation"], rows["labels"]
    model = DigitsNet(classes=10)
    model.load_state_dict(load_file(weights))
    model.eval()

    fp32, prepared, int8 = out / "fp32.onnx", out / "prepared.onnx", out / "int8.onnx"
    torch.onnx.export(
        model, (torch.from_numpy(images[:1]),), str(fp32), dynamo=False, opset_version=17,
        input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )  # fmt: skip

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(
                [{"image": calibration[start : start + 32]} for start in range(0, len(calibration), 32)]
            )

        def get_next(self):  # type: ignore[no-untyped-def]
            return next(self.batches, None)

    quant_pre_process(str(fp32), str(prepared))
    quantize_static(
        str(prepared), str(int8), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(int8), options, providers=["CPUExecutionProvider"])

    with torch.inference_mode():
        by_torch = np.concatenate(
            [model(torch.from_numpy(images[i : i + 64])).numpy() for i in range(0, len(images), 64)]
        )
    by_int8 = np.concatenate([session.run(None, {"image": images[i : i + 64]})[0] for i in range(0, len(images), 64)])
    print(f"accuracy {(by_torch.argmax(1) == labels).mean():.4f} {(by_int8.argmax(1) == labels).mean():.4f}")

    runners = {
        "torch": lambda batch: model(torch.from_numpy(batch)).numpy(),
        "int8": lambda batch: session.run(None, {"image": batch})[0],
    }
    with torch.inference_mode():
        for size in (1, 8, 32):
            seconds: dict[str, list[float]] = {name: [] for name in runners}
            for _ in range(10):
                for run in runners.values():
                    run(images[:size])
            for _ in range(100):
                for name, run in runners.items():
                    run(images[:size])  # off the clock: what the other left in the caches is not charged to this one
                    start = time.perf_counter()
                    run(images[:size])
                    seconds[name].append(time.perf_counter() - start)
            print(size, {name: f"{1e3 * float(np.median(times)):.3f} ms" for name, times in seconds.items()})


main()
