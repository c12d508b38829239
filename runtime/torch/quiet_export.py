"""Keep torch's ONNX exporter quiet."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_export() -> Iterator[None]:
    """Silence warnings, log lines and standard output.

    The exporter warns that it is not the newest one (which takes 3 to 21 s), and for an operation that an operator set
    lacks it prints the whole graph from C++, past sys.stdout.
    """
    level = logging.root.manager.disable
    logging.disable(max(level, logging.WARNING))
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
        logging.disable(level)
