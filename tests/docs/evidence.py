"""Make the keys that the page on evidence speaks of."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

for name in ("key", "other"):
    private = ec.generate_private_key(ec.SECP256R1())
    kind, locked = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    Path(f"{name}.pem").write_bytes(private.private_bytes(serialization.Encoding.PEM, kind, locked))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    Path(f"{name}.pub").write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
