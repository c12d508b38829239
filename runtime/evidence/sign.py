"""Sign a pack and check it: OpenSSF model signatures of the pack and of what is shipped, DSSE envelopes of statements.

Formats: sigstore bundle v0.3 with a DSSE envelope, predicate https://model_signing/signature/v1.0; DSSE v1. Both are
written and checked without a network, with a key of the person's own.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.evidence import keys
from titrant.runtime.evidence.statements import PAYLOAD_TYPE, STATEMENT
from titrant.runtime.store.run_folder import MANIFEST
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.release import FOLDER, INDEX, SIGNATURES
from titrant.schema.values.files import json_object, write_bytes
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

_PREDICATE = "https://model_signing/signature/v1.0"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
# Signature → the folder of the run whose files it is over.
_OVER: Mapping[str, str] = {"evidence.sig": FOLDER, "outputs.sig": "outputs"}
_SHOWN = 5


@dataclass(frozen=True)
class Signed:
    """What was signed: the signature files, how many files they are over, and the key's id (SHA-256 of its PEM)."""

    signatures: tuple[Path, ...]
    files: int
    key: str


@dataclass(frozen=True)
class VerifiedPack:
    """What was checked and holds: files by SHA-256, signatures, and the id of the key that they were made with."""

    files: int
    signatures: int
    key: str


@dataclass(frozen=True)
class _Mismatch:
    path: str
    why: str


class _Contents:
    """The files of a run by SHA-256, each read once."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._digests: dict[str, str | None] = {}

    def digest(self, name: str) -> str | None:
        """Digest a file by its path below the run; None where it is not there or cannot be read."""
        if name not in self._digests:
            try:
                with (self.run / name).open("rb") as file:
                    self._digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                self._digests[name] = None
        return self._digests[name]

    def below(self, folder: str) -> list[str]:
        """List the files of one of the run's folders by their paths in it, sorted, signatures left out."""
        paths = (path for path in (self.run / folder).rglob("*") if path.is_file())
        names = sorted(path.relative_to(self.run / folder).as_posix() for path in paths)
        return [name for name in names if not name.startswith(f"{SIGNATURES}/")]

    def manifest(self, folder: str) -> dict[str, str]:
        """Return SHA-256 by path of every file of one of the run's folders."""
        return {name: self.digest(f"{folder}/{name}") or "" for name in self.below(folder)}


def sign_pack(run: Path, key: "EllipticCurvePrivateKey") -> Signed:
    """Sign a run's pack and its outputs; what is signed is first compared with the pack's own list.

    Raises RecipeError X584 where there is no pack, StepError X586 where a file is not the one that the pack is about.
    """
    index, contents = _index(run), _Contents(run)
    if changed := list(_changed(contents, index)):
        raise _refused("X586", run, changed, "make the evidence anew, and look at what changed before you sign it")
    signatures = run / FOLDER / SIGNATURES
    written: dict[str, bytes] = {}
    count = 0
    for name, folder in _OVER.items():
        if folder == FOLDER or index["released"]:
            manifest = contents.manifest(folder)
            count += len(manifest)
            written[name] = _bundle(key, _signing_statement(folder, manifest))
    for statement in sorted((run / FOLDER).glob("*.intoto.json")):
        name = statement.name.replace(".intoto.json", ".dsse.json")
        written[name] = _json(_envelope(key, statement.read_bytes(), keys.key_id(key.public_key())))
    try:
        shutil.rmtree(signatures, ignore_errors=True)
        signatures.mkdir()
        for name, data in written.items():
            write_bytes(signatures / name, data)
    except OSError as error:
        message = f"the signatures of {run.name} cannot be written: {os_reason(error)}"
        raise StepError(Diagnostic("X580", message, help="make room, or let the folder be written to")) from None
    return Signed(tuple(signatures / name for name in written), count, keys.key_id(key.public_key()))


def verify_pack(run: Path, key: "EllipticCurvePublicKey") -> VerifiedPack:
    """Check that a run's pack and its outputs are what was signed with a key, to the last file.

    Raises RecipeError X584 for a run without a pack, StepError X585 for one that is not signed, X587 where it was
    signed with another key, X588 with the names of the files that are not what was signed.
    """
    folder, contents = run / FOLDER / SIGNATURES, _Contents(run)
    if not (run / FOLDER / INDEX).is_file() and not folder.is_dir():
        _index(run)
    needed = [name for name, over in _OVER.items() if over == FOLDER or (run / over / MANIFEST).is_file()]
    needed += [f"{path.name.removesuffix('.intoto.json')}.dsse.json" for path in (run / FOLDER).glob("*.intoto.json")]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        message = f"the evidence of {run.name} is not signed: {SIGNATURES}/{missing[0]} is not there"
        raise StepError(Diagnostic("X585", message, help="sign it: titrant evidence sign RUN --key key.pem"))
    changed: list[_Mismatch] = []
    count = 0
    for path in sorted(folder.iterdir()):
        payload = _opened(path, key, run)
        place = f"{FOLDER}/{SIGNATURES}/{path.name}"
        if payload is None:
            changed.append(_Mismatch(place, "it is not what was signed"))
        elif path.name in _OVER and _is_over(payload, _OVER[path.name]):
            count += len(payload["predicate"]["resources"])
            changed += _against(contents, _OVER[path.name], payload)
        elif path.name in _OVER or json_object(_statement_of(run, path)) != payload:
            changed.append(_Mismatch(place, "it holds another statement"))
    index = json_object(run / FOLDER / INDEX)
    if index is not None and _is_index(index):
        names = {mismatch.path for mismatch in changed}
        changed += [mismatch for mismatch in _changed(contents, index) if mismatch.path not in names]
    if changed:
        raise _refused("X588", run, changed, "take the files from where they were signed, or make and sign them anew")
    return VerifiedPack(count, len(needed), keys.key_id(key))


def _statement_of(run: Path, envelope: Path) -> Path:
    return run / FOLDER / envelope.name.replace(".dsse.json", ".intoto.json")


def _index(run: Path) -> dict[str, Any]:
    index = json_object(run / FOLDER / INDEX)
    if index is None or not _is_index(index):
        message = f"the run {run.name} has no evidence: {FOLDER}/{INDEX} is not there, or is not a list of files"
        raise RecipeError(Diagnostic("X584", message, help="make it: titrant evidence make RUN"))
    return index


def _is_index(value: Mapping[str, Any]) -> bool:
    """Tell whether an object is the list of a pack, whatever its figures are."""
    maps = [value.get("files"), value.get("of_run")]
    return all(isinstance(digests, Mapping) for digests in maps) and isinstance(value.get("released"), list)


def _changed(contents: _Contents, index: Mapping[str, Any]) -> Iterator[_Mismatch]:
    """Yield every file that is not what the pack's list says, and every file of the pack that it does not name."""
    listed = {**{f"{FOLDER}/{name}": digest for name, digest in index["files"].items()}, **index["of_run"]}
    for name, digest in listed.items():
        if contents.digest(name) is None:
            yield _Mismatch(name, "it is not there")
        elif contents.digest(name) != digest:
            yield _Mismatch(name, "it has another SHA-256 than when the evidence was made")
    for folder in (FOLDER, "outputs" if index["released"] else "quarantine"):
        places = [f"{folder}/{name}" for name in contents.below(folder)]
        more = [place for place in places if place not in listed and place != f"{FOLDER}/{INDEX}"]
        yield from (_Mismatch(place, "it was not there when the evidence was made") for place in more)


def _is_over(payload: Mapping[str, Any], folder: str) -> bool:
    """Tell whether a statement that was signed is about the files of a folder: one key signs several."""
    subjects = payload.get("subject") or [{}]
    return payload.get("predicateType") == _PREDICATE and subjects[0].get("name") == folder


def _against(contents: _Contents, folder: str, payload: Mapping[str, Any]) -> Iterator[_Mismatch]:
    """Yield the files of a folder that are not those of its signature."""
    signed = {resource["name"]: resource["digest"] for resource in payload["predicate"]["resources"]}
    there = contents.manifest(folder)
    for name in sorted({*signed, *there}):
        if name not in there:
            yield _Mismatch(f"{folder}/{name}", "it is not there")
        elif name not in signed:
            yield _Mismatch(f"{folder}/{name}", "it was not there when this was signed")
        elif signed[name] != there[name]:
            yield _Mismatch(f"{folder}/{name}", "it was changed since it was signed")


def _opened(path: Path, key: "EllipticCurvePublicKey", run: Path) -> dict[str, Any] | None:
    """Return the statement that a signature file holds; None where it is damaged or its signature does not hold.

    Raises StepError X587 where it says that it was made with another key.
    """
    value = json_object(path) or {}
    try:
        envelope = value.get("dsseEnvelope", value)
        material = value.get("verificationMaterial", {}).get("publicKey", {})
        made_with = material.get("hint") or envelope["signatures"][0]["keyid"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        statement = json.loads(payload)
        kind = envelope["payloadType"]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return None
    if made_with != keys.key_id(key):
        message = (
            f"the evidence of {run.name} was signed with another key: {path.name} names {str(made_with)[:16]}, "
            f"and the key that is given is {keys.key_id(key)[:16]}"
        )
        advice = "give the public half of the key that signed it; do not trust a key that came with the run"
        raise StepError(Diagnostic("X587", message, help=advice))
    holds = kind == PAYLOAD_TYPE and keys.is_signed(key, signature, _encoded(payload))
    return statement if holds and isinstance(statement, dict) else None


def _signing_statement(name: str, manifest: Mapping[str, str]) -> bytes:
    """Write what OpenSSF model signing signs: every file's digest, and the digest of all digests in their order."""
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in manifest.values())).hexdigest()
    ignored = [SIGNATURES] if name == FOLDER else []
    resources = [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in manifest.items()]
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": ignored}
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": serialization, "resources": resources},
    }
    return json.dumps(statement, sort_keys=True).encode()


def _bundle(key: "EllipticCurvePrivateKey", payload: bytes) -> bytes:
    hint = keys.key_id(key.public_key())
    material = {"publicKey": {"hint": hint}, "tlogEntries": []}
    return _json({"mediaType": _BUNDLE, "verificationMaterial": material, "dsseEnvelope": _envelope(key, payload, "")})


def _envelope(key: "EllipticCurvePrivateKey", payload: bytes, name: str) -> dict[str, Any]:
    signature = keys.sign_bytes(key, _encoded(payload))
    signatures = [{"sig": base64.b64encode(signature).decode(), "keyid": name}]
    return {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": signatures}


def _encoded(payload: bytes) -> bytes:
    """Put a payload in the form that DSSE signs (pre-authentication encoding, DSSE v1)."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _refused(code: str, run: Path, changed: list[_Mismatch], advice: str) -> StepError:
    shown = "; ".join(f"{mismatch.path}: {mismatch.why}" for mismatch in changed[:_SHOWN])
    more = f", and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    message = f"{len(changed)} files of {run.name} are not what they were" if len(changed) > 1 else (
        f"a file of {run.name} is not what it was")  # fmt: skip
    return StepError(Diagnostic(code, f"{message}: {shown}{more}", help=advice))
