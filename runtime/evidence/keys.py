"""Read keys of a person's own, sign bytes and check signatures: ECDSA on the curves that OpenSSF model signing has."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import os_reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

PASSWORD = "TITRANT_KEY_PASSWORD"
_MAKE = "make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem, and openssl ec -in key.pem -pubout"
_CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


def private_key(path: Path) -> "EllipticCurvePrivateKey":
    """Read a private key in PEM; an encrypted one is opened with the password in TITRANT_KEY_PASSWORD.

    Raises RecipeError X583 for a file that is no such key, X582 where cryptography is not installed.
    """
    serialization = _library()
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    password = os.environ.get(PASSWORD)
    data = _read(path)
    try:
        key = serialization.load_pem_private_key(data, password.encode() if password else None)
    except TypeError:
        given = "is given for a key that is not encrypted" if password else "is not set, and the key is encrypted"
        raise _wrong(path, f"{PASSWORD} {given}", "set it to the key's password, or unset it") from None
    except ValueError:
        what = f"it is no private key in PEM that {PASSWORD} opens" if password else "it is no private key in PEM"
        raise _wrong(path, what, _MAKE) from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise _wrong(path, "it is a key of another kind than ECDSA on P-256, P-384 or P-521", _MAKE)
    return key


def public_key(path: Path) -> "EllipticCurvePublicKey":
    """Read a public key in PEM; raises as `private_key` does."""
    serialization = _library()
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError:
        raise _wrong(path, "it is no public key in PEM", "openssl ec -in key.pem -pubout -out key.pub") from None
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise _wrong(path, "it is a key of another kind than ECDSA on P-256, P-384 or P-521", _MAKE)
    return key


def key_id(key: "EllipticCurvePublicKey") -> str:
    """Name a public key: the SHA-256 (hexadecimal) of its PEM, as OpenSSF model signing does."""
    serialization = _library()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()


def sign_bytes(key: "EllipticCurvePrivateKey", data: bytes) -> bytes:
    """Sign bytes; the same key and bytes always give the same signature (RFC 6979)."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return key.sign(data, ECDSA(_digest_of(key.curve.name), deterministic_signing=True))


def is_signed(key: "EllipticCurvePublicKey", signature: bytes, data: bytes) -> bool:
    """Tell whether bytes were signed with the private half of a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    try:
        key.verify(signature, data, ECDSA(_digest_of(key.curve.name)))
    except InvalidSignature:
        return False
    return True


def _digest_of(curve: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    return getattr(hashes, _CURVES[curve])()


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        advice = "pip install 'titrant[evidence]'"
        raise RecipeError(Diagnostic("X582", "the package cryptography is not installed", help=advice)) from None
    return serialization


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(path, os_reason(error), "name a file that is there") from None


def _wrong(path: Path, why: str, advice: str) -> RecipeError:
    return RecipeError(Diagnostic("X583", f"{path} cannot be used as a key: {why}", help=advice))
