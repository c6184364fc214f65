"""Ed25519 keys and detached signatures, in the form that `connector_runtime.load` verifies."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


def make_keys(path: Path) -> Path:
    """Write a private key (PEM, readable by its owner alone) and `<path>.pub`; return the latter.

    Raise FileExistsError before either is written: a key in use must not be lost.
    """
    public = path.with_name(f"{path.name}.pub")
    for target in (path, public):
        if target.exists():
            raise FileExistsError(f"{target}: it exists already, and a key is not overwritten")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def read_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM file. Raise ValueError, which never shows the file."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ValueError(f"{path}: it can't be read ({error.strerror})") from error
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path}: it is no Ed25519 private key in PEM without a passphrase")
    return key
