"""What was signed is what is there, to the last file; who signed it is told; every edit is named."""

import base64
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.evidence import keys
from titrant.runtime.evidence.pack import make_pack
from titrant.runtime.evidence.sign import sign_pack, verify_pack
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.release import DOCUMENTS


def key_files(folder, name, curve=None, password=None):
    private = ec.generate_private_key(curve or ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    (folder / f"{name}.pem").write_bytes(private.private_bytes(serialization.Encoding.PEM, kind, locked))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / f"{name}.pub").write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    return folder / f"{name}.pem", folder / f"{name}.pub"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("signed")


@pytest.fixture(scope="module")
def mine(place):
    return key_files(place, "mine")


@pytest.fixture(scope="module")
def signed(place, mine, records, run_folder):
    """A run whose pack is signed."""
    run = run_folder(records.released(), place)
    make_pack(run, tuple(DOCUMENTS), None)
    sign_pack(run, keys.private_key(mine[0]))
    return run


def refused(run, public):
    with pytest.raises(StepError) as caught:
        verify_pack(run, keys.public_key(public))
    return caught.value.diagnostics[0]


def test_verifies_what_was_signed(signed, mine):
    verified = verify_pack(signed, keys.public_key(mine[1]))
    assert verified.signatures == len(list((signed / "evidence" / "signatures").iterdir())) == 4
    files = [path for name in ("outputs", "evidence") for path in (signed / name).rglob("*") if path.is_file()]
    assert verified.files == len(files) - 4


def test_signs_the_same_bytes_alike(signed, mine):
    folder = signed / "evidence" / "signatures"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    sign_pack(signed, keys.private_key(mine[0]))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_is_verified_by_openssf_model_signing(signed, mine, place):
    import model_signing

    for folder in ("evidence", "outputs"):
        config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=mine[1])
        signature = signed / "evidence" / "signatures" / f"{folder}.sig"
        config.verify(signed / folder, signature)
        edited = shutil.copytree(signed / folder, place / f"edited-{folder}")
        next(path for path in edited.rglob("*") if path.suffix in (".onnx", ".md")).write_text("edited")
        config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=mine[1])
        with pytest.raises(ValueError, match="mismatch"):
            config.verify(edited, signature)


def test_puts_statements_in_envelopes_that_others_read(signed, mine):
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    public = serialization.load_pem_public_key(mine[1].read_bytes())
    for name in ("test-result", "provenance"):
        value = json.loads((signed / "evidence" / "signatures" / f"{name}.dsse.json").read_text("utf-8"))
        key = SSlibKey.from_crypto(public, keyid=value["signatures"][0]["keyid"])
        Envelope.from_dict(value).verify([key], 1)
        assert base64.b64decode(value["payload"]) == (signed / "evidence" / f"{name}.intoto.json").read_bytes()


EDITS = {
    "changed": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "another object": lambda path: path.write_bytes(b"{}"),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "added": lambda path: (path.parent / "more.txt").write_text("more"),
}


@settings(max_examples=60)
@given(data=st.data())
def test_names_the_file_of_any_edit(signed, mine, tmp_path_factory, data):
    """Of the evidence, of the outputs, of the record that it is about: whichever file, whatever is done to it."""
    run = shutil.copytree(signed, tmp_path_factory.mktemp("edit") / signed.name)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.parent.name != "signatures")
    path = data.draw(st.sampled_from(files))
    edit = data.draw(st.sampled_from(sorted(EDITS)))
    EDITS[edit](path)
    edited = path.parent / "more.txt" if edit == "added" else path
    if edit == "added" and path.parent == run:
        verify_pack(run, keys.public_key(mine[1]))  # beside the pack and the outputs, and in neither
        return
    found = refused(run, mine[1])
    assert found.code == "X588"
    assert edited.relative_to(run).as_posix() in found.message


@pytest.mark.parametrize("name", ["evidence.sig", "outputs.sig", "test-result.dsse.json", "provenance.dsse.json"])
@pytest.mark.parametrize("edit", ["payload", "signature", "damaged", "removed", "another"])
def test_names_a_signature_that_was_edited(signed, mine, tmp_path, name, edit):
    run = shutil.copytree(signed, tmp_path / signed.name)
    path = run / "evidence" / "signatures" / name
    value = json.loads(path.read_text("utf-8"))
    envelope = value.get("dsseEnvelope", value)
    if edit == "payload":
        payload = base64.b64decode(envelope["payload"]).replace(b"sha256", b"sha255")
        envelope["payload"] = base64.b64encode(payload).decode()
    elif edit == "signature":
        other = base64.b64decode(envelope["signatures"][0]["sig"])
        envelope["signatures"][0]["sig"] = base64.b64encode(other[:-1] + bytes([other[-1] ^ 1])).decode()
    path.write_text("{" if edit == "damaged" else json.dumps(value), "utf-8")
    if edit == "removed":
        path.unlink()
    elif edit == "another":
        beside = "outputs.sig" if name == "evidence.sig" else "evidence.sig"
        shutil.copy(path.parent / beside, path)
    found = refused(run, mine[1])
    assert found.code == ("X585" if edit == "removed" else "X588")
    assert name in found.message


def test_refuses_a_statement_of_the_same_key_in_the_place_of_a_signature(signed, mine, tmp_path):
    run = shutil.copytree(signed, tmp_path / signed.name)
    folder = run / "evidence" / "signatures"
    shutil.copy(folder / "provenance.dsse.json", folder / "evidence.sig")
    found = refused(run, mine[1])
    assert (found.code, "evidence.sig: it holds another statement" in found.message) == ("X588", True)


def test_tells_the_key_of_another(signed, mine, place):
    found = refused(signed, key_files(place, "other")[1])
    assert found.code == "X587"
    assert keys.key_id(keys.public_key(mine[1]))[:16] in found.message


def test_does_not_take_the_word_of_an_edited_hint(signed, place, tmp_path):
    """Whoever writes the name of the trusted key into another's signature gains nothing."""
    run = shutil.copytree(signed, tmp_path / signed.name)
    _, other = key_files(place, "forger")
    name = keys.key_id(keys.public_key(other))
    for path in (run / "evidence" / "signatures").iterdir():
        value = json.loads(path.read_text("utf-8"))
        if "dsseEnvelope" in value:
            value["verificationMaterial"]["publicKey"]["hint"] = name
        else:
            value["signatures"][0]["keyid"] = name
        path.write_text(json.dumps(value), "utf-8")
    assert refused(run, other).code == "X588"


def test_signs_nothing_that_changed_since_its_evidence(signed, mine, tmp_path):
    run = shutil.copytree(signed, tmp_path / signed.name)
    next((run / "outputs").glob("*.onnx")).write_bytes(b"another model")
    with pytest.raises(StepError) as caught:
        sign_pack(run, keys.private_key(mine[0]))
    assert caught.value.diagnostics[0].code == "X586"
    assert "outputs/" in caught.value.diagnostics[0].message


def test_says_where_there_is_nothing_to_sign_or_no_signature(signed, mine, tmp_path):
    run = shutil.copytree(signed, tmp_path / signed.name)
    shutil.rmtree(run / "evidence" / "signatures")
    assert refused(run, mine[1]).code == "X585"
    shutil.rmtree(run / "evidence")
    for call in (lambda: sign_pack(run, keys.private_key(mine[0])), lambda: verify_pack(run, keys.public_key(mine[1]))):
        with pytest.raises(RecipeError) as caught:
            call()
        assert caught.value.diagnostics[0].code == "X584"


def test_takes_an_encrypted_key_with_its_password(place, monkeypatch):
    locked, public = key_files(place, "locked", ec.SECP384R1(), b"open")
    monkeypatch.setenv(keys.PASSWORD, "open")
    private = keys.private_key(locked)
    assert keys.is_signed(keys.public_key(public), keys.sign_bytes(private, b"x"), b"x")
    assert not keys.is_signed(keys.public_key(public), keys.sign_bytes(private, b"x"), b"y")


def refused_key(read, path):
    with pytest.raises(RecipeError) as caught:
        read(path)
    assert caught.value.diagnostics[0].code == "X583"
    return caught.value.diagnostics[0].message


def test_refuses_what_is_no_such_key(place, mine, monkeypatch):
    private, public = mine
    locked, _ = key_files(place, "locked2", password=b"open")
    edwards = place / "ed.pem"
    edwards.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    bitcoin, _ = key_files(place, "bitcoin", ec.SECP256K1())
    (place / "text.pem").write_text("not a key")
    monkeypatch.delenv(keys.PASSWORD, raising=False)
    assert "no private key" in refused_key(keys.private_key, public)
    assert "no public key" in refused_key(keys.public_key, private)
    assert "no private key" in refused_key(keys.private_key, place / "text.pem")
    assert "another kind" in refused_key(keys.private_key, edwards)
    assert "another kind" in refused_key(keys.private_key, bitcoin)
    assert "no such file" in refused_key(keys.private_key, place / "none.pem")
    assert "is not set" in refused_key(keys.private_key, locked)
    monkeypatch.setenv(keys.PASSWORD, "wrong")
    assert keys.PASSWORD in refused_key(keys.private_key, locked)
    assert "not encrypted" in refused_key(keys.private_key, private)


def test_names_the_package_that_signing_needs(mine, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    for read, path in ((keys.private_key, mine[0]), (keys.public_key, mine[1])):
        with pytest.raises(RecipeError) as caught:
            read(path)
        assert caught.value.diagnostics[0].code == "X582"


@pytest.mark.parametrize("damage", ["missing report", "cut report", "other verdict", "no object", "old record"])
def test_makes_nothing_of_a_run_that_it_cannot_read(records, run_folder, tmp_path, damage):
    run = run_folder(records.released(), tmp_path)
    report: Path = run / "report.json"
    if damage == "missing report":
        report.unlink()
    elif damage == "cut report":
        report.write_text(report.read_text("utf-8")[:-20], "utf-8")
    elif damage == "no object":
        report.write_text("[]", "utf-8")
    elif damage == "old record":
        report.write_text('{"record": {}}', "utf-8")
    else:
        recorded = json.loads((run / "record.json").read_text("utf-8"))
        (run / "record.json").write_text(json.dumps({**recorded, "verdict": "FAIL"}), "utf-8")
    with pytest.raises(StepError) as caught:
        make_pack(run, tuple(DOCUMENTS), None)
    assert caught.value.diagnostics[0].code == "X581"
    assert not (run / "evidence").exists()
