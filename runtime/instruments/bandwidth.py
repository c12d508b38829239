"""How fast one thread reads memory, and how fast the disk of a folder writes and reads."""

import os
import statistics
import time
from pathlib import Path

ROUNDS = 5
# Larger than the last-level cache that one core of any current processor can fill.
_MEMORY_BYTES = 256 << 20
_FILE_BYTES = 64 << 20
_BLOCK_BYTES = 4 << 20
_WRITE_SECONDS = 1.0


def memory_bytes_per_second(available: int | None, rounds: int = ROUNDS) -> float | None:
    """Return the median rate of adding up numbers that no cache holds; None where memory is short.

    `available` is the free memory in bytes, of which at most an eighth is taken.
    """
    import torch

    size = _MEMORY_BYTES if available is None else min(_MEMORY_BYTES, available // 8)
    if size < _MEMORY_BYTES // 4:
        return None
    torch.set_num_threads(1)
    numbers = torch.ones(size // 4)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        numbers.sum()
        seconds.append(time.perf_counter() - start)
    return size / statistics.median(seconds)


def disk_bytes_per_second(folder: Path, rounds: int = 3) -> tuple[float | None, float | None]:
    """Return the median rates of writing (made durable) and reading; None for what cannot be measured there.

    Reading counts only where the system can be asked to forget the file first; a slow disk gets a smaller file.
    """
    written, read = [], []
    file = folder / "bench.bin"
    try:
        for _ in range(rounds):
            size, seconds = _write(file)
            written.append(size / seconds)
            if hasattr(os, "posix_fadvise"):
                read.append(_read(file))
    except OSError:
        return None, None
    finally:
        file.unlink(missing_ok=True)
    return statistics.median(written), statistics.median(read) if read else None


def _write(file: Path) -> tuple[int, float]:
    block = os.urandom(_BLOCK_BYTES)  # a disk that compresses must not look fast
    size, start = 0, time.perf_counter()
    with file.open("wb", buffering=0) as out:
        while size < _FILE_BYTES and time.perf_counter() - start < _WRITE_SECONDS:
            size += out.write(block)
        os.fsync(out.fileno())
    return size, time.perf_counter() - start


def _read(file: Path) -> float:
    with file.open("rb", buffering=0) as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size, start = 0, time.perf_counter()
        while block := source.read(_BLOCK_BYTES):
            size += len(block)
        return size / (time.perf_counter() - start)
