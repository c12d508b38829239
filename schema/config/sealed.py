"""Encrypt a stream with a key from the environment, chunk by chunk, and decrypt it, refusing whatever is not whole.

AES-256-GCM over chunks of 64 KiB in the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár 2015): the nonce is
the chunk's number and whether it is the last, so that chunks can be neither moved, left out nor cut off. A file begins
with how its keys are made: scrypt of a passphrase, or HKDF of 32 random bytes, each with a salt of the file's own.
"""

import hashlib
import hmac
import io
import json
import os
from collections.abc import Mapping
from typing import IO, Any, Protocol

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.canonical import canonical_json

KEY_VARIABLE = "TITRANT_KEY"
MAGIC = b"titrant-sealed 1\n"
CHUNK_BYTES = 1 << 16
_TAG_BYTES, _MAC_BYTES, _SALT_BYTES, _RAW_DIGITS = 16, 32, 16, 64
# scrypt at 2**17 rounds takes 128 MiB and a third of a second; a header may not ask for more than eight times that.
_ROUNDS, _MOST_ROUNDS = 17, 20
_LEAST_LETTERS = 12
_MOST_HEADER = 1000


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class SealedError(RecipeError):
    """A sealed file does not open; the code is R217."""


def key_from_environment() -> str:
    """Return the key: 64 hexadecimal digits (32 random bytes), or a passphrase of 12 characters or more.

    Raises RecipeError R216 where the environment has none that can be used.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        message = f"there is no key: {KEY_VARIABLE} is not set"
        raise RecipeError(Diagnostic("R216", message, help=f'export {KEY_VARIABLE}="$(openssl rand -hex 32)"'))
    if len(key) < _LEAST_LETTERS:
        message = f"the key in {KEY_VARIABLE} has {len(key)} characters, and {_LEAST_LETTERS} are the least"
        raise RecipeError(Diagnostic("R216", message, help="take 64 hexadecimal digits, or a longer passphrase"))
    return key


def is_sealed(head: bytes) -> bool:
    """Whether a file that begins so is sealed."""
    return head.startswith(MAGIC)


class SealedWriter(io.RawIOBase):
    """Encrypts what is written to it into a stream; only `close` ends the file, and one that is not ended is refused.

    Two files of the same bytes differ: each has a salt of its own.
    """

    def __init__(self, stream: IO[bytes], key: str) -> None:
        super().__init__()
        self._stream = stream
        self._waiting = bytearray()
        self._place = 0
        is_raw = _raw(key) is not None
        about = {"key": "raw" if is_raw else "scrypt", "salt": os.urandom(_SALT_BYTES).hex()}
        header = MAGIC + canonical_json(about if is_raw else {**about, "rounds": _ROUNDS}).encode() + b"\n"
        authentic, self._cipher = _keys(key, json.loads(header[len(MAGIC) :]))
        stream.write(header + hmac.digest(authentic, header, "sha256"))

    def writable(self) -> bool:
        """Answer that it is."""
        return True

    def write(self, data: Any) -> int:
        """Encrypt every chunk that is full; the last one waits, since only `close` knows that it is the last."""
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:
            self._seal(self._waiting[:CHUNK_BYTES], last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def close(self) -> None:
        """Write the last chunk; the stream stays open."""
        if not self.closed:
            self._seal(self._waiting, last=True)
            self._waiting.clear()
        super().close()

    def abandon(self) -> None:
        """Close without ending the file, which then nobody opens."""
        super().close()

    def _seal(self, chunk: bytearray, *, last: bool) -> None:
        self._stream.write(self._cipher.encrypt(_nonce(self._place, last=last), bytes(chunk), None))
        self._place += 1


class SealedReader(io.RawIOBase):
    """Decrypts a sealed stream as it is read; nothing of a chunk is given out before it is known to be authentic.

    Raises SealedError (R217) when the key does not fit, or the file was changed, or cut short: what was read until then
    is authentic, but no more than a beginning.
    """

    def __init__(self, stream: IO[bytes], key: str, name: str) -> None:
        super().__init__()
        self._stream = stream
        self._name = name
        header = _header(stream, name)
        authentic, self._cipher = _keys(key, _about(header, name))
        if not hmac.compare_digest(stream.read(_MAC_BYTES), hmac.digest(authentic, header, "sha256")):
            help_text = f"set {KEY_VARIABLE} to the key that it was sealed with"
            why = "it is another one, or the file's first lines were changed"
            message = f"{name} does not open with the key in {KEY_VARIABLE}: {why}"
            raise _refused(message, help_text)
        self._next = stream.read(CHUNK_BYTES + _TAG_BYTES)
        self._place = 0
        self._plain = b""
        self._ended = False

    def readable(self) -> bool:
        """Answer that it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next; 0 at the end of a file that is whole."""
        while not self._plain and not self._ended:
            self._open()
        size = min(len(buffer), len(self._plain))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _open(self) -> None:
        """Decrypt the next chunk, knowing whether another follows."""
        chunk, self._next = self._next, self._stream.read(CHUNK_BYTES + _TAG_BYTES)
        self._ended = not self._next
        plain = self._opened(chunk, last=self._ended)
        if plain is None:
            at = f"around byte {self._place * CHUNK_BYTES:,}"
            if self._ended and (not chunk or self._opened(chunk, last=False) is not None):
                raise _refused(f"{self._name} is cut short: it ends {at} of what was sealed")
            raise _refused(f"{self._name} was changed, or cut short, {at} of what was sealed")
        self._plain = plain
        self._place += 1

    def _opened(self, chunk: bytes, *, last: bool) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(_nonce(self._place, last=last), chunk, None)
        except (InvalidTag, ValueError):
            return None


def sealed(data: bytes, key: str) -> bytes:
    """Encrypt bytes."""
    stream = io.BytesIO()
    writer = SealedWriter(stream, key)
    writer.write(data)
    writer.close()
    return stream.getvalue()


def opened(data: bytes, key: str, name: str) -> bytes:
    """Decrypt bytes; SealedError (R217), with the file's `name`, where they do not open."""
    return io.BufferedReader(SealedReader(io.BytesIO(data), key, name)).read()


def _nonce(place: int, *, last: bool) -> bytes:
    return place.to_bytes(11, "big") + bytes([last])


def _raw(key: str) -> bytes | None:
    """Return a key of 64 hexadecimal digits as its 32 bytes; None for a passphrase."""
    try:
        return bytes.fromhex(key) if len(key) == _RAW_DIGITS else None
    except ValueError:
        return None


def _keys(key: str, about: Mapping[str, Any]) -> tuple[bytes, _Cipher]:
    """Return the key that vouches for the header, and the cipher; RecipeError R218 where there is none to be had."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        message = "encrypting needs the package cryptography, which is not installed"
        raise RecipeError(Diagnostic("R218", message, help="pip install 'titrant[evidence]'")) from None
    salt = bytes.fromhex(about["salt"])
    raw = _raw(key) if about["key"] == "raw" else None
    if about["key"] == "raw":
        # A passphrase does not fit a file that was sealed with 32 bytes: its keys are as good as any other wrong ones.
        extracted = hmac.digest(salt, raw or key.encode(), "sha256")
        made = b"".join(hmac.digest(extracted, purpose, "sha256") for purpose in (b"header\x01", b"chunks\x01"))
    else:
        rounds = 1 << about["rounds"]
        made = hashlib.scrypt(key.encode(), salt=salt, n=rounds, r=8, p=1, maxmem=rounds * 8 * 130, dklen=64)
    return made[:32], AESGCM(made[32:])


def _header(stream: IO[bytes], name: str) -> bytes:
    header = stream.read(len(MAGIC))
    if not is_sealed(header):
        raise _refused(f"{name} is not sealed")
    return header + stream.readline(_MOST_HEADER)


def _about(header: bytes, name: str) -> Mapping[str, Any]:
    """Return how the keys of a file are made, nothing of which is authentic yet."""
    try:
        about = json.loads(header[len(MAGIC) :])
        bytes.fromhex(about["salt"])
        usable = about["key"] == "raw" or (about["key"] == "scrypt" and 10 <= int(about["rounds"]) <= _MOST_ROUNDS)
    except (ValueError, KeyError, TypeError, RecursionError):
        usable = False
    if not usable:
        raise _refused(f"{name} was changed, or cut short, in its first lines")
    return dict(about)


def _refused(message: str, help_text: str = "take the file again from where it was made") -> SealedError:
    return SealedError(Diagnostic("R217", message, help=help_text))
