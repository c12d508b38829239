"""Real pretrained models and medical data go through the whole chain."""

import pytest

pytestmark = [pytest.mark.real, pytest.mark.slow]

RESNET = """\
titrant: 1
name: resnet20
level: balanced
task: multiclass_classification
model:
  factory: resnet20:ResNet20
  weights: {data}/resnet20_cifar10/resnet20-12fca82f.th
data:
  source:
    factory: cifar:load
    args: {{folder: {data}/cifar10_jpeg, every: 8, train_every: 4}}
    files:
      - {data}/cifar10_jpeg/cifar10_test_even_jpeg.tar
      - {data}/cifar10_jpeg/cifar10_train_0000-0499_jpeg.tar
  inputs: [image]
  label: label
  classes: [airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck]
  split: {{calibration: {{train: 0.5}}, tuning: {{train: 0.5}}, evaluation: test, overlap: drop}}
  transform: [{{normalize: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}}}]
quantization: {{method: auto, repair: none}}
search: {{objective: [size], mix_layers: false}}
validation: {{retention: 0.98, baseline: {{metric: accuracy, at_least: 0.79}}}}
profile: {{batches: [1], iterations: 8}}
export: [{{format: onnx}}]
"""


def test_quantizes_the_cifar_resnet_and_keeps_its_accuracy(execute, data):
    done = execute(RESNET.format(data=data))
    assert done.code == 0, done.printed
    retention = done.gate("ort.static", "retention")
    # 0.81 on all 5,000 images, of which this run takes every eighth.
    assert retention["original"] == pytest.approx(0.8336, abs=0.003)
    assert retention["verdict"] == "PASS"
    assert retention["lower"] >= 0.98
    assert retention["cases"] > 600
    assert done.record["released"] == ["ort.static"]
    assert done.candidate("ort.static")["size"] <= 0.31 * done.candidate("onnx-fp32")["size"]
    # How much faster it is, benchmarks/ measures.
    assert done.candidate("ort.static")["figures"]["latency_p50"] > 0


PNEUMONIA = """\
titrant: 1
name: pneumonia
level: balanced
task: binary_classification
model: {{factory: "titrant.recipes.models:SmallCnn", args: {{classes: auto, channels: 8}}}}
data:
  source:
    factory: pneumonia:load
    args: {{file: {data}/pneumoniamnist/pneumoniamnist.npz, train_every: 3}}
    files: [{data}/pneumoniamnist/pneumoniamnist.npz]
  inputs: [image]
  label: label
  positive: 1
  split: {{train: {{train: 0.9}}, calibration: {{train: 0.1}}, tuning: val, evaluation: test, overlap: drop}}
  transform: [{{normalize: {{mean: 0.5, std: 0.25}}}}]
train: {{epochs: 3}}
quantization: {{method: ort.static, repair: none}}
search: {{mix_layers: false}}
validation: {{safety: {{kept: 0.97}}, gates: [{{metric: auroc, comparison: drop_at_most, threshold: 0.02}}]}}
profile: {{batches: [1], iterations: 8}}
export: [{{format: onnx}}]
"""


def test_trains_quantizes_and_judges_a_chest_xray_network(execute, data):
    done = execute(PNEUMONIA.format(data=data))
    assert done.code == 0, done.printed
    judged = done.candidate("ort.static")["judgement"]
    assert judged["verdict"] == "PASS", done.printed
    retention = done.gate("ort.static", "retention")
    assert retention["cases"] == pytest.approx(624, abs=5)
    assert 0.7 < retention["original"] < 0.95
    assert done.gate("ort.static", "safety.kept")["cases"] > 300
    assert (done.folder / "outputs").is_dir()
    assert list((done.folder / "outputs").glob("*.onnx"))
    assert (done.folder / "report.html").stat().st_size > 20_000


FACES = """\
titrant: 1
name: faces
level: balanced
task: unlabeled
model:
  onnx: {data}/ultralight_face/version-RFB-320.onnx
  output: [{{name: scores, kind: probabilities}}, {{name: boxes, kind: values}}]
data:
  source:
    factory: faces:load
    args: {{folder: {data}/ultralight_face, count: 32}}
    files: [{data}/ultralight_face/1.jpg, {data}/ultralight_face/10.jpg, {data}/ultralight_face/11.jpg]
  inputs: [input]
  split: {{tuning: 0.25, calibration: 0.5, evaluation: 0.25, stratify: false}}
quantization: {{method: auto, repair: none}}
profile: {{batches: [1], iterations: 8}}
export: [{{format: onnx}}]
"""


def test_optimizes_checks_and_times_a_face_detector_without_labels(execute, data):
    done = execute(FACES.format(data=data))
    assert done.code == 0, done.printed
    names = {one["candidate"] for one in done.record["candidates"]}
    assert {"unchanged", "ort.static"} <= names
    released = done.record["released"][0]
    assert done.gate(released, "retention")["verdict"] in ("PASS", "INCONCLUSIVE")
    assert done.gate(released, "retention")["estimate"] >= 0.95
    assert done.candidate(released)["figures"]["latency_p50"] > 0
    # It loses the boxes on tuning rows, which its speed does not mend.
    assert "latency_p50" not in done.candidate("ort.static")["figures"]


FACES_WITH_BOXES = """\
titrant: 1
name: faces
level: balanced
task: {task}
model: {{onnx: {data}/ultralight_face/version-slim-320.onnx, decode: "face_boxes:boxes"}}
data:
  source:
    factory: face_boxes:pieces
    args: {{folder: {data}/ultralight_face, count: {count}{labeler}}}
    files:
      - {data}/ultralight_face/1.jpg
      - {data}/ultralight_face/10.jpg
      - {data}/ultralight_face/11.jpg
      - {data}/ultralight_face/version-RFB-320.onnx
  inputs: [input]
{labels}
  split: {{tuning: 0.2, calibration: 0.2, evaluation: 0.6}}
quantization: {{method: ort.static, repair: none}}
search: {{mix_layers: false}}
profile: {{batches: [1], iterations: 8}}
export: [{{format: onnx}}]
validation: {validation}
"""


def test_keeps_the_faces_that_a_detector_finds(execute, data):
    labels = "  label: faces\n  classes: [face]"
    labeler = f", labeler: {data}/ultralight_face/version-RFB-320.onnx"
    validation = "{retention: 0.9, gates: [{metric: box_f1, comparison: retention, threshold: 0.8}]}"
    given = {"task": "detection", "count": 32, "labeler": labeler, "labels": labels, "validation": validation}
    done = execute(FACES_WITH_BOXES.format(data=data, **given))
    assert done.code == 0, done.printed
    assert done.gate("ort.static", "box_f1.all.retention")["verdict"] == "PASS"
    retention = done.gate("ort.static", "retention")
    assert retention["original"] > 0.7
    assert retention["estimate"] > 0.95
    assert retention["verdict"] == "INCONCLUSIVE"  # 19 images prove little of a whole set


def test_finds_the_same_faces_without_a_label(execute, data):
    given = {
        "task": "unlabeled",
        "count": 20,
        "labeler": "",
        "labels": "",
        "validation": "{agreement: {measure: boxes, at_least: 0.5}}",
    }
    done = execute(FACES_WITH_BOXES.format(data=data, **given))
    # Every box of an image counts, and scores of unsure ones move by more than .1.
    assert done.code == 5, done.printed
    assert 0.1 < done.gate("ort.static", "retention")["estimate"] < 0.5
    assert done.record["released"] == []
