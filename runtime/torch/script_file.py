"""Write TorchScript files that hold no paths of this machine and have the same bytes every time."""

import json
import re
import warnings
from pathlib import Path

import torch  # noqa: TID253 - its very subject

from titrant.runtime.values import TorchModel, TorchScriptModel

# torch numbers the classes of a process, so a second trace of one module is called otherwise than the first.
MANGLED = re.compile(rb"___torch_mangle_(\d+)")
# Stack traces of where each line was traced; loading works without them.
DEBUG = ".debug_pkl"
# Where the archive's version stands: in the second from version 10 on, which GELU, among others, asks for.
VERSIONS = ("version", ".data/version")
# The writer adds these itself.
WRITTEN = (*VERSIONS, ".data/serialization_id")


def save_script(script: torch.jit.ScriptModule, model: TorchModel, folder: Path) -> TorchScriptModel:
    """Write `model.pt` into a folder, with the model's inputs and outputs in its extra file titrant.json."""
    said = {"inputs": model.inputs, "outputs": model.outputs}
    raw, path = folder / "raw.pt", folder / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers its .pt2 archives by now
        torch.jit.save(script, str(raw), _extra_files={"titrant.json": json.dumps(said, sort_keys=True)})
    normalize(raw, path)
    raw.unlink()
    return TorchScriptModel(path)


def normalize(source: Path, target: Path) -> None:
    """Copy a TorchScript file without debug records and with its classes numbered from 0.

    Class names stand in code as text and in pickles as newline-terminated globals, so a plain replacement is exact.
    The archive is named after `target`.
    """
    reader = torch._C.PyTorchFileReader(str(source))
    records = {name: reader.get_record(name) for name in reader.get_all_records() if not name.endswith(DEBUG)}
    code = [name.encode() for name in records] + [data for name, data in records.items() if _names_classes(name)]
    found = sorted({int(number) for text in code for number in MANGLED.findall(text)})
    renamed = {b"%d" % number: b"___torch_mangle_%d" % place for place, number in enumerate(found)}

    def rename(text: bytes) -> bytes:
        return MANGLED.sub(lambda match: renamed[match[1]], text)

    writer = torch._C.PyTorchFileWriter(str(target))
    writer.set_min_version(int(next(records[name] for name in VERSIONS if name in records)))
    for name in sorted(set(records) - set(WRITTEN)):
        data = rename(records[name]) if _names_classes(name) else records[name]
        writer.write_record(rename(name.encode()).decode(), data, len(data))
    writer.write_end_of_file()


def _names_classes(record: str) -> bool:
    return record.endswith((".py", ".pkl"))
