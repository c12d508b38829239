"""Pieces of three photos, the faces that a larger network finds there, and what a face detector's outputs say."""

from pathlib import Path

import numpy as np

SIZE = (240, 320)
OVERLAP, LEAST, MOST = 0.3, 0.05, 200


def pieces(folder, labeler="", count=150, most=40):
    """Cut photos into pieces of 240 × 320, at random sizes, and let another detector label them.

    Returns "input" (count, 3, 240, 320) float32, and with a labeler (an ONNX file) "faces" (count, most, 5).
    """
    from PIL import Image

    photos = [Image.open(path).convert("RGB") for path in sorted(Path(folder).glob("*.jpg"))]
    generator = np.random.default_rng(0)
    images = np.zeros((count, 3, *SIZE), np.float32)
    for row in range(count):
        photo = photos[row % len(photos)]
        width = int(min(photo.width, photo.height * 4 / 3) * generator.uniform(0.25, 0.8))
        height = width * 3 // 4
        left, top = generator.integers(0, photo.width - width + 1), generator.integers(0, photo.height - height + 1)
        piece = photo.crop((left, top, left + width, top + height)).resize((SIZE[1], SIZE[0]))
        images[row] = (np.asarray(piece, np.float32).transpose(2, 0, 1) - 127) / 128
    if not labeler:
        return {"input": images}
    return {"input": images, "faces": faces(images, labeler, most)}


def faces(images, labeler, most):
    """Return the faces that a detector is sure of, (count, most, 5)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more of them spin while they wait
    session = onnxruntime.InferenceSession(labeler, options, providers=["CPUExecutionProvider"])
    labels = np.full((len(images), most, 5), np.nan)
    for row, image in enumerate(images):
        answers = session.run(["scores", "boxes"], {"input": image[None]})
        found, scores, _ = boxes({"scores": answers[0][0], "boxes": answers[1][0]})
        sure = found[scores > 0.7][:most]
        sure = np.clip(sure, 0, (SIZE[1], SIZE[0], SIZE[1], SIZE[0]))
        sure = sure[(sure[:, 2] > sure[:, 0] + 1) & (sure[:, 3] > sure[:, 1] + 1)]
        labels[row, : len(sure), :4], labels[row, : len(sure), 4] = sure, 0
    return labels


def boxes(outputs):
    """Keep the surest of boxes that overlap: "scores" (4420, 2), "boxes" (4420, 4) in 0..1 → boxes, scores, labels."""
    scores, corners = outputs["scores"][:, 1], outputs["boxes"] * np.array([SIZE[1], SIZE[0]] * 2)
    order = np.flatnonzero(scores > LEAST)
    order = order[np.argsort(-scores[order], kind="stable")][:MOST]
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        near, end = np.maximum(corners[best, :2], corners[order, :2]), np.minimum(corners[best, 2:], corners[order, 2:])
        shared = np.prod(np.maximum(end - near, 0), axis=1)
        areas = np.prod(corners[order, 2:] - corners[order, :2], axis=1)
        order = order[shared / (areas + np.prod(corners[best, 2:] - corners[best, :2]) - shared) < OVERLAP]
    return corners[kept], scores[kept], np.zeros(len(kept))
