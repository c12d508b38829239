"""Write the synthetic images that the page on medical images speaks of, into the current folder."""

import sys
from pathlib import Path

import nibabel
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "data" / "images"))
from image_files import dicom, png

EACH = 100
generator = np.random.default_rng(0)


def drawn(ill):
    """Draw a chest, (28, 28) in 0..1; the ill have a bright spot."""
    image = generator.normal(0.35, 0.05, (28, 28))
    if ill:
        row, column = generator.integers(2, 16, 2)
        image[row : row + 10, column : column + 10] += 0.5
    return image.clip(0, 1)


for name in ("healthy", "ill"):
    for kind in ("xrays", "ct"):
        Path(kind, name).mkdir(parents=True)
    for number in range(EACH):
        bits = np.rint(drawn(name == "ill") * 65535)[..., None].astype(np.uint16)
        Path("xrays", name, f"{number}.png").write_bytes(png(bits, bits=16))
    for number in range(20):
        units = np.rint(drawn(name == "ill") * 400 - 160 + 1024).astype(np.uint16)
        dicom(Path("ct", name, f"{number}.dcm"), units, stored=12, RescaleSlope=1, RescaleIntercept=-1024)
Path("xrays", ".DS_Store").write_bytes(b"")
Path("xrays", "labels.csv").write_text("file,label\n")

Path("volumes").mkdir()
lines = ["file,label,patient"]
for number in range(50):
    name = ("healthy", "ill")[number % 2]
    volume = np.stack([drawn(name == "ill") * 400 - 160] * 3, axis=2).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([-1.0, 1.0, 1.0, 1.0])), Path("volumes", f"{number}.nii.gz"))
    lines.append(f"{number}.nii.gz,{name},p{number // 2 % 25}")
Path("volumes.csv").write_text("\n".join(lines) + "\n")
