"""Reads a package file that is not trusted: checks all of it, then imports it from memory.

Nothing is written to disk and nothing is read twice, so what was verified is what runs.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import re
import stat
import struct
import sys
import types
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import InvalidPackage

MANIFEST = "MANIFEST.sha256"
MOST_BYTES = 16 * 1024**2  # of the file, and of all that is in it
MOST_BYTES_OF_A_MEMBER = 4 * 1024**2
MOST_MEMBERS = 500
HIGHEST_RATIO = 200  # text shrinks to about a fifth, a ZIP bomb to a thousandth
ALLOWED = re.compile(
    r"__main__\.py|connector\.json|[a-z0-9_-]+\.png|README\.md|LICENSE|CHANGELOG\.md"
    r"|requirements\.txt|MANIFEST\.sha256|schemas/[a-z][a-z0-9_]*(\.input|\.output)?\.json"
    r"|(actions|auth|connector_runtime)/[a-z_][a-z0-9_]*\.(py|json)"
)
_DOS_NO_FILE = 0x18  # DOS attributes: a volume label, or a folder
_FLAGS = 0x0806  # bits 1 and 2: the level of deflate; bit 11: the name is UTF-8
_SIGNATURE_BYTES = 64
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_END_RECORD = struct.Struct("<4s4H2LH")
_DIRECTORY_ENTRY_BYTES = 46  # without its name
_LOCATOR_BYTES = 20
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def read(
    path: Path, sha256: str | None = None, trusted_keys: Sequence[str | bytes] | None = None
) -> dict[str, bytes]:
    """Return a package's files by name, after every check.

    `sha256` is the whole file's, in hexadecimal. With `trusted_keys` (Ed25519 public keys, PEM or
    32 raw bytes) the file beside it, named with `.sig` added, must be a signature by one of them;
    an empty list trusts nobody. Raise InvalidPackage.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InvalidPackage(f"{path.name}: it can't be read ({error.strerror}).") from error
    if len(content) > MOST_BYTES:
        raise InvalidPackage(f"{path.name}: it is larger than {MOST_BYTES} bytes.")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.strip().lower():
        raise InvalidPackage(f"{path.name}: its SHA-256 is not the one that was asked for.")
    if trusted_keys is not None:
        _verify(path, content, trusted_keys)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            files = _members(path.name, package, content)
    except InvalidPackage:
        raise
    except Exception as error:  # for malformed bytes, zipfile raises many undocumented kinds
        raise InvalidPackage(f"{path.name}: it is not a complete ZIP file ({error}).") from error
    _check_hashes(path.name, files)
    return files


def _verify(path: Path, content: bytes, trusted_keys: Sequence[str | bytes]) -> None:
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise InvalidPackage(
            f"{path.name}: verifying its signature needs the package 'cryptography', which is not "
            "installed; it comes with the extra [signing]."
        ) from error
    signature_path = path.with_name(f"{path.name}.sig")
    try:
        with signature_path.open("rb") as file:
            signature = file.read(_SIGNATURE_BYTES + 1)  # one byte more, to notice a longer file
    except OSError as error:
        raise InvalidPackage(f"{path.name}: it is not signed ({signature_path.name}).") from error
    unusable = False
    for given in trusted_keys:
        try:
            raw = given.encode() if isinstance(given, str) else given
            key = (
                Ed25519PublicKey.from_public_bytes(raw)
                if len(raw) == 32
                else load_pem_public_key(raw)
            )
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            unusable = True  # reported below, unless another key fits
            continue
        try:
            key.verify(signature, content)
        except InvalidSignature:
            continue
        return
    if unusable:
        raise InvalidPackage("trusted_keys: a key is no Ed25519 public key.")
    raise InvalidPackage(f"{path.name}: its signature is by none of the trusted keys.")


def _members(package_name: str, package: zipfile.ZipFile, content: bytes) -> dict[str, bytes]:
    members = package.infolist()
    if len(members) > MOST_MEMBERS:
        raise InvalidPackage(f"{package_name}: it has more than {MOST_MEMBERS} members.")
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise InvalidPackage(f"{package_name}: unpacked, it is larger than {MOST_BYTES} bytes.")
    seen: set[str] = set()
    files = {}
    for member in members:
        fault = _fault(member)
        if member.filename.casefold() in seen:
            fault = "its name is in it twice"
        if fault:
            raise InvalidPackage(f"{package_name}: {member.orig_filename[:80]!r}: {fault}.")
        seen.add(member.filename.casefold())
    if not _is_plain(members, content):
        raise InvalidPackage(f"{package_name}: its layout is not that of a package.")
    for member in members:
        with package.open(member) as file:
            files[member.filename] = file.read(MOST_BYTES_OF_A_MEMBER + 1)
        if len(files[member.filename]) != member.file_size:
            raise InvalidPackage(
                f"{package_name}: {member.filename!r}: its size is not the stated one."
            )
    return files


def _is_plain(members: Sequence[zipfile.ZipInfo], content: bytes) -> bool:
    """Tell whether the file is its members, their directory and its end record, and nothing else.

    Each member's own header must say what the directory says. Otherwise the file could hide bytes
    before, between or after its members, another program could read other members than this one,
    or a stated size could be false. The layout is that of PKWARE's APPNOTE: 4.3.7 (a member's
    header), 4.3.12 (the directory), 4.3.16 (the end record).
    """
    members_end = directory_size = 0
    for member in members:
        end = _end_of_member(member, content, members_end)
        if end is None:
            return False
        members_end = end
        directory_size += _DIRECTORY_ENTRY_BYTES + len(member.filename)  # no extra, no comment
    end_start = len(content) - _END_RECORD.size
    count = len(members)
    # Signature, two disk numbers, members on this disk and in all, the directory's size and its
    # start, the comment's length.
    wanted = (b"PK\5\6", 0, 0, count, count, directory_size, members_end, 0)
    # With a ZIP64 locator before the end record, zipfile would use the ZIP64 record instead.
    locator = content[end_start - _LOCATOR_BYTES : end_start]
    return (
        _END_RECORD.unpack_from(content, end_start) == wanted
        and members_end + directory_size == end_start
        and not locator.startswith(b"PK\6\7")
    )


def _end_of_member(member: zipfile.ZipInfo, content: bytes, start: int) -> int | None:
    """Return where a member that begins at `start` ends; None if its header is wrong."""
    name = member.filename.encode("ascii")
    name_start = start + _LOCAL_HEADER.size
    if member.header_offset != start or name_start > len(content):
        return None
    signature, _, flags, method, _, _, *sizes = _LOCAL_HEADER.unpack_from(content, start)
    if (signature, flags, method) != (b"PK\3\4", member.flag_bits, member.compress_type):
        return None
    if sizes != [member.CRC, member.compress_size, member.file_size, len(name), 0]:
        return None
    if not content.startswith(name, name_start):
        return None
    return name_start + len(name) + member.compress_size


def _fault(member: zipfile.ZipInfo) -> str | None:
    name, mode = member.orig_filename, member.external_attr >> 16
    if name != member.filename or "\\" in name or "\0" in name:
        return "a backslash or null character in its name"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "an absolute name"
    if ".." in name.split("/"):
        return "a name that leaves the package"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or member.external_attr & _DOS_NO_FILE:
        return "not a regular file"
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        return "a file mode with set-user-ID, set-group-ID or sticky bit"
    if not ALLOWED.fullmatch(name):
        return "a name that a package does not have"
    if member.flag_bits & 0x1:
        return "encrypted"
    if member.flag_bits & ~_FLAGS:
        return "a flag that a package does not have"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "a compression other than deflate"
    if member.file_size > MOST_BYTES_OF_A_MEMBER:
        return f"larger than {MOST_BYTES_OF_A_MEMBER} bytes"
    if member.file_size > HIGHEST_RATIO * max(member.compress_size, 1):
        return f"more than {HIGHEST_RATIO} times larger unpacked"
    return None


def _check_hashes(package_name: str, files: Mapping[str, bytes]) -> None:
    try:
        # Not splitlines, which takes eight other characters for line ends: sha256sum does not.
        lines = files[MANIFEST].decode("ascii").removesuffix("\n").split("\n")
    except (KeyError, UnicodeDecodeError) as error:
        raise InvalidPackage(f"{package_name}: it has no readable {MANIFEST}.") from error
    stated = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if not match or match[2] in stated:
            raise InvalidPackage(f"{package_name}: {MANIFEST} has a line that is no hash.")
        stated[match[2]] = match[1]
    for name in sorted(stated.keys() ^ (files.keys() - {MANIFEST})):
        where = "has no such file" if name in stated else f"is not in {MANIFEST}"
        raise InvalidPackage(f"{package_name}: {name!r} {where}.")
    for name, digest in stated.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise InvalidPackage(f"{package_name}: {name!r} does not match {MANIFEST}.")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules of one namespace, and only from a package's verified files."""

    def __init__(self, namespace: str, origin: Path, files: Mapping[str, bytes]) -> None:
        self._prefix = f"{namespace}."
        self._origin = origin
        self._files = files

    def install(self) -> None:
        sys.meta_path.append(self)

    def remove(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def _name(self, fullname: str) -> str | None:
        stem = fullname.removeprefix(self._prefix).replace(".", "/")
        return next((n for n in (f"{stem}/__init__.py", f"{stem}.py") if n in self._files), None)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        name = self._name(fullname) if fullname.startswith(self._prefix) else None
        if name is None:
            return None
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=str(self._origin / name), is_package=name.endswith("__init__.py")
        )
        if spec:
            spec.has_location = True  # so that __file__ is set, which pkgutil.get_data needs
        return spec

    def get_source(self, fullname: str) -> str:
        name = self._name(fullname)
        if name is None:
            raise ImportError(f"no module {fullname}")
        return self._files[name].decode("utf-8")

    def get_code(self, fullname: str) -> types.CodeType:
        name = str(self._name(fullname))
        return self.source_to_code(self._files[name], str(self._origin / name))

    def is_package(self, fullname: str) -> bool:
        return str(self._name(fullname)).endswith("__init__.py")

    def get_data(self, path: str | os.PathLike[str]) -> bytes:
        name = Path(path).relative_to(self._origin).as_posix()
        try:
            return self._files[name]
        except KeyError as error:
            raise OSError(f"the package has no {name}") from error
