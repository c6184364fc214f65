"""Encrypts the data in Temporal's history, and stores large values outside of it.

Without `Encryption`, everybody who may read the history can read all data of all cases: names,
numbers, texts. With it they can still read the ids of cases and activities, task queues, times,
and the identifiers of messages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    ExternalStorage,
    PayloadCodec,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from connector_runtime.errors import InvalidConfiguration

_ENCODING = b"binary/aes-256-gcm"
_NONCE_BYTES = 12
_KEY_BYTES = 32
# A value of this size or more is kept in external storage
LARGE_BYTES = 256 * 1024
_NAME = re.compile(r"[0-9a-f]{64}")


class Encryption(PayloadCodec):
    """Encrypts payloads with AES-256-GCM.

    Each of `keys` has 32 bytes. The first key encrypts; all keys decrypt. To change the key, give
    the new key to all workers as the last one, and then make it the first. Remove an old key when
    no history needs it any more. Raise InvalidConfiguration.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        given = list(keys)
        if not given or any(len(key) != _KEY_BYTES for key in given):
            raise InvalidConfiguration(
                f"encryption: give at least one key, each of {_KEY_BYTES} bytes."
            )
        self._ciphers = {_key_id(key): AESGCM(key) for key in given}
        self._first = _key_id(given[0])

    @classmethod
    def from_text(cls, text: str) -> Encryption:
        """Read keys in Base64, one on a line. Blank lines and lines that begin with # are ignored.

        Raise InvalidConfiguration.
        """
        lines = [line.strip() for line in text.splitlines()]
        try:
            keys = [
                base64.b64decode(line, validate=True)
                for line in lines
                if line and not line.startswith("#")
            ]
        except binascii.Error:
            raise InvalidConfiguration(
                "encryption: each line must be a key in Base64, as 'openssl rand -base64 32' "
                "prints it."
            ) from None
        return cls(keys)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        cipher, name = self._ciphers[self._first], self._first.encode()
        encoded = []
        for payload in payloads:
            nonce = os.urandom(_NONCE_BYTES)
            data = nonce + cipher.encrypt(nonce, payload.SerializeToString(), name)
            metadata = {"encoding": _ENCODING, "encryption-key-id": name}
            encoded.append(Payload(metadata=metadata, data=data))
        return encoded

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decoded(payload) for payload in payloads]

    def _decoded(self, payload: Payload) -> Payload:
        from cryptography.exceptions import InvalidTag

        if payload.metadata.get("encoding") != _ENCODING:
            # The payload was written before encryption was switched on.
            return payload
        name = payload.metadata["encryption-key-id"]
        cipher = self._ciphers.get(name.decode())
        if cipher is None:
            raise InvalidConfiguration(
                f"encryption: a payload needs the key '{name.decode()}', which is not given."
            )
        nonce, data = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, data, name))
        except InvalidTag:
            raise InvalidConfiguration(
                f"encryption: a payload of the key '{name.decode()}' was changed."
            ) from None


def _key_id(key: bytes) -> str:
    """Return a name for a key that reveals nothing about the key."""
    return hashlib.sha256(b"connector_engines.temporal key id" + key).hexdigest()[:16]


class Folder(StorageDriver):
    """Keeps large values as files in a folder, named by their hash. For one machine and for tests.

    All workers, and all programs that start cases, need the same folder. No file is ever deleted:
    delete files yourself once they are older than the namespace's retention. Raise
    InvalidConfiguration if the folder can't be created.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidConfiguration(
                f"storage: the folder '{path}' can't be created: {error.strerror}."
            ) from error

    def name(self) -> str:
        return "folder"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        return [self._store(payload.SerializeToString(deterministic=True)) for payload in payloads]

    def _store(self, content: bytes) -> StorageDriverClaim:
        name = hashlib.sha256(content).hexdigest()
        path = self._path / name
        if not path.exists():
            # Another worker may read the file at any time, so it must be complete from the start.
            with tempfile.NamedTemporaryFile(dir=self._path, delete=False) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, path)
        return StorageDriverClaim({"sha256": name})

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        return [self._retrieve(claim.claim_data["sha256"]) for claim in claims]

    def _retrieve(self, name: str) -> Payload:
        if not _NAME.fullmatch(name):
            raise ValueError("a large value's name must be a hash")
        content = (self._path / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != name:
            raise ValueError(f"the large value {name} was changed")
        return Payload.FromString(content)


def converter(
    *, encryption: Encryption | None = None, storage: StorageDriver | None = None
) -> DataConverter:
    """Return the converter for `connect`.

    All workers, and all programs that start cases, need the same encryption keys and storage.
    `storage` keeps values of 256 KiB or more: a `Folder`, or a driver of the SDK for S3 or GCS
    (`temporalio.contrib.aws.s3driver`, `temporalio.contrib.gcp.gcsdriver`).
    """
    return DataConverter(
        payload_codec=encryption,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes
        if encryption is not None
        else DefaultFailureConverter,
        external_storage=ExternalStorage([storage], payload_size_threshold=LARGE_BYTES)
        if storage is not None
        else None,
    )
