"""Keep onnxruntime's tools quiet and their temporary files in one folder."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet(scratch: Path) -> Iterator[None]:
    """Silence prints, warnings and log lines up to errors, and send temporary files to `scratch`.

    The quantization tools print progress, log advice on the root logger, and write next to the system's other
    temporary files; none of that can be configured. Say nothing of one's own within.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    folder, level = tempfile.tempdir, logging.root.manager.disable
    tempfile.tempdir = str(scratch)
    logging.disable(max(level, logging.ERROR))
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        tempfile.tempdir = folder
