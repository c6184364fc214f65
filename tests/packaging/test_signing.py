"""Keys to sign packages with: kept from others, never overwritten, and not shown when refused."""

import base64
import os
import stat
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

from connector_build import signing

PEM, RAW = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8 = serialization.PrivateFormat.PKCS8
BARE = serialization.NoEncryption()


def test_a_pair_of_keys_signs_and_verifies(tmp_path):
    path = tmp_path / "connector.key"
    assert signing.make_keys(path) == tmp_path / "connector.key.pub"
    signature = signing.read_key(path).sign(b"package")
    public = serialization.load_pem_public_key((tmp_path / "connector.key.pub").read_bytes())
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(signature, b"package")


def test_two_pairs_differ(tmp_path):
    publics = {signing.make_keys(tmp_path / name).read_bytes() for name in ("a", "b")}
    assert len(publics) == 2
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_the_private_key(tmp_path, mask):
    before = os.umask(mask)
    try:
        signing.make_keys(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("existing", ["key", "key.pub"])
def test_a_key_is_never_overwritten(tmp_path, existing):
    (tmp_path / existing).write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=f"{existing}: it exists already"):
        signing.make_keys(tmp_path / "key")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_bytes() == b"precious"


@pytest.mark.skipif(os.name == "nt", reason="a link needs rights there")
def test_a_link_to_nowhere_is_not_written_through(tmp_path):
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        signing.make_keys(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "key.pub").exists()


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        signing.make_keys(tmp_path / "none" / "key")


def unknown_kind():
    """A well-formed PKCS #8 key of an algorithm that does not exist."""

    def der(tag, content):
        return bytes([tag, len(content)]) + content

    algorithm = der(0x30, der(0x06, b"\x2a\x03\x04\x05"))
    encoded = base64.b64encode(der(0x30, der(0x02, b"\0") + algorithm + der(0x04, b"precious")))
    label = b"PRIVATE" + b" KEY-----\n"
    return b"-----BEGIN " + label + encoded + b"\n-----END " + label


KEYS = {
    "elliptic curve": lambda: ec.generate_private_key(ec.SECP256R1()).private_bytes(
        PEM, PKCS8, BARE
    ),
    "key for agreement": lambda: x25519.X25519PrivateKey.generate().private_bytes(PEM, PKCS8, BARE),
    "with a passphrase": lambda: ed25519.Ed25519PrivateKey.generate().private_bytes(
        PEM, PKCS8, serialization.BestAvailableEncryption(b"precious")
    ),
    "not PEM": lambda: ed25519.Ed25519PrivateKey.generate().private_bytes(RAW, PKCS8, BARE),
    "public half": lambda: (
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    ),
    "cut off": lambda: ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, BARE)[:-40],
    "unknown kind": unknown_kind,
    "text": lambda: b"a precious passphrase\nof two lines",
    "bytes": lambda: bytes(range(128, 256)),
    "empty": lambda: b"",
}


@pytest.mark.parametrize("kind", KEYS)
def test_what_is_no_ed25519_private_key_is_refused_and_not_shown(tmp_path, kind):
    content = KEYS[kind]()
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match="it is no Ed25519 private key in PEM") as caught:
        signing.read_key(tmp_path / "key")
    assert caught.value.__cause__ is caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value))
    # A key's bytes may hold line ends: what is left between two may be one letter, or nothing.
    for line in content.decode("latin-1").splitlines():
        assert len(line) < 8 or line not in shown


@pytest.mark.parametrize("name", ["none", "."])
def test_a_key_that_can_not_be_read_is_a_value_error(tmp_path, name):
    with pytest.raises(ValueError, match=r"it can't be read \(.+\)$"):
        signing.read_key(tmp_path / name)
