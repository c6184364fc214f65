"""Packages from strangers: each of these must be refused before anything in it runs."""

import base64
import hashlib
import json
import stat
import struct
import sys
import warnings
import zipfile

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from connector_build import package as packages
from connector_runtime import archive, errors, load
from tests.conftest import ROOT

TRAP = b"import sys; sys.hostile_code_ran = True\n"


@pytest.fixture
def files(root):
    return packages.contents(root)


@pytest.fixture
def refuses(tmp_path):
    """Load a package made of these members and expect a refusal that says `expected`."""

    def check(members, expected, **options):
        path = tmp_path / "hostile.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile's own, of the names that stand twice
            for name, content in members:
                package.writestr(name, content)
        refuses_file(path, expected, **options)

    return check


def refuses_file(path, expected, **options):
    before, finders = set(sys.modules), list(sys.meta_path)
    with pytest.raises(errors.InvalidPackage) as caught:
        load(path, **options)
    assert expected in str(caught.value)
    assert not hasattr(sys, "hostile_code_ran")
    assert {n for n in set(sys.modules) - before if n.startswith("connector_twilio")} == set()
    assert sys.meta_path == finders


def hashed(files):
    """The members of a package whose hashes are right, whatever it holds."""
    rest = {name: content for name, content in files.items() if name != archive.MANIFEST}
    lines = [f"{hashlib.sha256(rest[name]).hexdigest()}  {name}\n" for name in sorted(rest)]
    return [*rest.items(), (archive.MANIFEST, "".join(lines).encode())]


NAMES = {
    "absolute": ("/etc/connector.json", "an absolute name"),
    "parent": ("actions/../../x.py", "a name that leaves the package"),
    "backslash": ("actions\\x.py", "a backslash"),
    "null": ("actions/x.py\0.json", "a backslash or null character"),
    "drive": ("C:/x.py", "an absolute name"),
    "folder": ("actions/", "a name that a package does not have"),
    "not allowed": ("setup.py", "a name that a package does not have"),
    "dotfile": (".env", "a name that a package does not have"),
    "compiled": ("actions/x.pyc", "a name that a package does not have"),
    "deeper": ("actions/more/x.py", "a name that a package does not have"),
    "line break": ("actions/x.py\n", "a name that a package does not have"),
    "twice": ("actions/send_sms.py", "its name is in it twice"),
    "twice by case": ("README.MD", "its name is in it twice"),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.values(), ids=NAMES)
def test_a_name_that_does_not_belong(files, refuses, name, expected):
    member = zipfile.ZipInfo(name)
    member.filename = name  # past what ZipInfo does to it
    refuses([*files.items(), (member, TRAP)], expected)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_what_is_no_regular_file(files, refuses, kind):
    member = zipfile.ZipInfo("actions/x.py")
    member.create_system = 3
    member.external_attr = (kind | 0o777) << 16
    refuses([*files.items(), (member, b"/etc/passwd")], "not a regular file")


def test_an_encrypted_member(package, tmp_path):
    content = bytearray(package.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "hostile.zip").write_bytes(content)
    refuses_file(tmp_path / "hostile.zip", "encrypted")


def test_a_compression_that_is_not_expected(files, tmp_path):
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w", zipfile.ZIP_LZMA) as package:
        for name, content in files.items():
            package.writestr(name, content)
    refuses_file(tmp_path / "hostile.zip", "a compression other than deflate")


def test_a_bomb(files, refuses):
    refuses([*files.items(), ("actions/x.py", bytes(3_000_000))], "times larger unpacked")


def test_a_member_that_is_too_large(files, refuses):
    import random

    noise = random.Random(1).randbytes(archive.MOST_BYTES_OF_A_MEMBER + 1)
    refuses([*files.items(), ("actions/x.py", noise)], "larger than 4194304 bytes")


def test_too_many_members(files, refuses):
    more = [(f"actions/x{n}.py", b"") for n in range(archive.MOST_MEMBERS)]
    refuses([*files.items(), *more], "more than 500 members")


def test_too_much_in_all(files, refuses):
    more = [(f"actions/x{n}.py", bytes(4_000_000)) for n in range(5)]
    refuses([*files.items(), *more], "unpacked, it is larger")


def test_a_file_that_is_too_large(tmp_path):
    with (tmp_path / "hostile.zip").open("wb") as file:
        file.truncate(archive.MOST_BYTES + 1)
    refuses_file(tmp_path / "hostile.zip", "it is larger than")


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_truncated_file(package, tmp_path, share):
    content = package.read_bytes()
    (tmp_path / "hostile.zip").write_bytes(content[: int(len(content) * share)])
    refuses_file(tmp_path / "hostile.zip", "it is not a complete ZIP file")


def test_a_file_that_does_not_match_its_hash(files, refuses):
    refuses({**files, "actions/send_sms.py": TRAP}.items(), "does not match MANIFEST.sha256")


def test_a_file_that_has_no_hash(files, refuses):
    refuses([*files.items(), ("actions/x.py", TRAP)], "'actions/x.py' is not in MANIFEST.sha256")


def test_a_hash_that_has_no_file(files, refuses):
    del files["LICENSE"]
    refuses(files.items(), "'LICENSE' has no such file")


@pytest.mark.parametrize("text", [None, b"\xff", b"hello\n"])
def test_no_readable_hashes(files, refuses, text):
    files[archive.MANIFEST] = text
    if text is None:
        del files[archive.MANIFEST]
    refuses(files.items(), archive.MANIFEST)


def test_a_manifest_that_breaks_its_schema(files, refuses):
    files["connector.json"] = files["connector.json"].replace(b'"version"', b'"vresion"')
    files["auth/__init__.py"] = TRAP
    refuses(hashed(files), "'version' is required")


@pytest.mark.parametrize("handler", [b"../x.py", b"actions/../x.py", b"/etc/x.py", b"auth/x.py"])
def test_a_handler_that_leaves_the_package(files, refuses, handler):
    files["connector.json"] = files["connector.json"].replace(b"actions/send_sms.py", handler)
    files["auth/__init__.py"] = TRAP
    refuses(hashed(files), "'actions[0].handler' breaks the rule")


def test_a_handler_that_is_not_there(files, refuses):
    del files["actions/send_sms.py"]
    files["auth/__init__.py"] = TRAP
    refuses(hashed(files), "actions/send_sms.py: it is not in the package")


@pytest.mark.parametrize("pattern", ["(", "(" * 500 + ")" * 500])
@pytest.mark.parametrize("listing", ["parameters", "options"])
def test_a_bad_pattern_of_a_setting_is_refused_before_anything_runs(
    files, refuses, listing, pattern
):
    manifest = json.loads(files["connector.json"])
    manifest[listing][0]["pattern"] = pattern
    files["connector.json"] = json.dumps(manifest).encode()
    files["auth/__init__.py"] = TRAP
    refuses(hashed(files), "a 'pattern' of its parameters and options")


def test_a_schema_that_names_a_file_outside_the_package(files, refuses, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    schema = {"properties": {"a": {"$ref": (tmp_path / "other.json").as_uri()}}}
    files["schemas/send_sms.input.json"] = json.dumps(schema).encode()
    files["auth/__init__.py"] = TRAP
    refuses(hashed(files), "schemas/send_sms.input.json: it is not a valid JSON Schema")


def test_an_icon_that_is_not_there(files, refuses):
    del files["icon.png"]
    files["auth/__init__.py"] = TRAP
    refuses(hashed(files), "icon.png: it is not in the package")


def test_another_file_than_the_one_asked_for(package):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    assert load(package, sha256=digest.upper()).name == "twilio"
    refuses_file(package, "its SHA-256 is not the one", sha256="0" * 64)


def test_a_folder_cannot_be_verified():
    refuses_file(ROOT, "only a package file can be verified", sha256="0" * 64)


def local(content, name):
    return content.index(b"PK\3\4", content.index(name) - 30)


def central(content, name):
    return content.rindex(b"PK\1\2", 0, content.rindex(name))


# Where the first of a member's two headers, and its entry in the directory, have a field.
FIELDS = {
    "flags": ("<H", 6, 8),
    "method": ("<H", 8, 10),
    "crc": ("<L", 14, 16),
    "packed size": ("<L", 18, 20),
    "size": ("<L", 22, 24),
    "name length": ("<H", 26, 28),
    "extra length": ("<H", 28, 30),
}


def changed(content, name, field, value, *, in_local=False, in_central=False):
    """Set a field of a member in one or both of the places that state it."""
    form, local_place, central_place = FIELDS[field]
    content = bytearray(content)
    if in_local:
        struct.pack_into(form, content, local(content, name) + local_place, value)
    if in_central:
        struct.pack_into(form, content, central(content, name) + central_place, value)
    return bytes(content)


@pytest.fixture
def refuses_bytes(tmp_path):
    def check(content, expected, **options):
        (tmp_path / "hostile.zip").write_bytes(content)
        refuses_file(tmp_path / "hostile.zip", expected, **options)

    return check


@pytest.mark.parametrize("field", FIELDS)
def test_a_local_header_that_contradicts_the_directory(package, refuses_bytes, field):
    content = package.read_bytes()
    for value in (1, 12, 0x2000):
        refuses_bytes(changed(content, b"auth/__init__.py", field, value, in_local=True), "")


@pytest.mark.parametrize("field", FIELDS)
def test_a_directory_that_contradicts_a_local_header(package, refuses_bytes, field):
    content = package.read_bytes()
    for value in (1, 12, 0x2000):
        refuses_bytes(changed(content, b"auth/__init__.py", field, value, in_central=True), "")


@pytest.mark.parametrize("flag", [0x8, 0x10, 0x20, 0x40, 0x80, 0x1000, 0x2000, 0x8000])
def test_a_flag_that_a_package_does_not_have(package, refuses_bytes, flag):
    content = package.read_bytes()
    content = changed(content, b"auth/__init__.py", "flags", flag, in_local=True, in_central=True)
    refuses_bytes(content, "a flag that a package does not have")


PLAIN = "its layout is not that of a package"


@pytest.mark.parametrize("more", [b"x", b"MZ" * 500, b"PK\3\4" + bytes(26)])
def test_bytes_before_the_first_member(package, refuses_bytes, more):
    refuses_bytes(more + package.read_bytes(), PLAIN)


@pytest.mark.parametrize("more", [b"x", b"x" * 100, b"PK\5\6" + bytes(17)])
def test_bytes_after_the_end_record(package, refuses_bytes, more):
    refuses_bytes(package.read_bytes() + more, "")


def test_a_comment_on_the_package_or_on_a_member(files, refuses, package, tmp_path):
    path = tmp_path / "hostile.zip"
    path.write_bytes(package.read_bytes())
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.comment = b"hello"
    refuses_file(path, PLAIN)
    member = zipfile.ZipInfo("actions/x.py")
    member.comment = b"hello"
    refuses([*files.items(), (member, b"")], PLAIN)


def test_an_extra_field_which_may_name_or_size_the_member_otherwise(files, refuses):
    member = zipfile.ZipInfo("actions/x.py")
    member.extra = struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"evil"
    refuses([*files.items(), (member, b"")], PLAIN)


def test_bytes_between_two_members(package, refuses_bytes):
    content = package.read_bytes()
    directory = zipfile.ZipFile(package).start_dir
    end = bytearray(content[-22:])
    struct.pack_into("<L", end, 16, directory + 5)
    refuses_bytes(content[:directory] + b"hello" + content[directory:-22] + end, PLAIN)


def test_a_directory_that_zip64_places_elsewhere(package, refuses_bytes):
    content = package.read_bytes()
    count, size, place = struct.unpack("<HLL", content[-12:-2])
    for stated in (place, 2**63, 2**64 - 1):
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, stated)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1)
        refuses_bytes(content[:-22] + record + locator + content[-22:], "")


@pytest.mark.parametrize("place", [2**63, 2**64 - 1, 2**64 - 60000, 2**62, 2**40])
def test_a_member_that_zip64_places_beyond_the_file(package, refuses_bytes, place):
    content = package.read_bytes()
    at = central(content, b"auth/__init__.py")
    extra = struct.pack("<HHQ", 1, 8, place)
    entry = bytearray(content[at : at + 46])
    struct.pack_into("<H", entry, 30, len(extra))
    struct.pack_into("<L", entry, 42, 0xFFFFFFFF)
    name_end = at + 46 + len(b"auth/__init__.py")
    end = bytearray(content[-22:])
    struct.pack_into("<L", end, 12, struct.unpack_from("<L", end, 12)[0] + len(extra))
    refuses_bytes(
        content[:at] + entry + content[at + 46 : name_end] + extra + content[name_end:-22] + end,
        PLAIN,
    )


def test_a_bomb_that_states_a_larger_packed_size_than_it_has(files, package, tmp_path):
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in hashed({**files, "actions/bomb.json": b" " * 4_000_000}):
            zipped.writestr(name, content)
    content = path.read_bytes()
    path.write_bytes(changed(content, b"actions/bomb.json", "packed size", 900_000,
                             in_local=True, in_central=True))  # fmt: skip
    refuses_file(path, PLAIN)


@pytest.mark.parametrize("attributes", [0o104755 << 16, 0o102755 << 16, 0o101755 << 16, 0x10, 0x8])
def test_attributes_of_what_is_no_plain_file(files, refuses, attributes):
    member = zipfile.ZipInfo("actions/x.py")
    member.create_system = 3
    member.external_attr = attributes
    refuses([*files.items(), (member, b"")], "'actions/x.py': ")


@pytest.mark.parametrize("line_end", [b"\x0b", b"\x0c", b"\x1c", b"\x1e", b"\r", b"\r\n"])
def test_hashes_whose_lines_end_as_sha256sum_does_not_end_them(files, refuses, line_end):
    files[archive.MANIFEST] = files[archive.MANIFEST].replace(b"\n", line_end)
    refuses(files.items(), "has a line that is no hash")


@pytest.fixture
def keys():
    """A private key, and its public half as PEM and as raw bytes."""
    key = ed25519.Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes_raw()
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key, raw, pem.decode()


def test_a_signed_package_is_taken_and_every_other_refused(package, tmp_path, keys):
    key, raw, pem = keys
    path = tmp_path / "twilio-1.0.0.zip"
    path.write_bytes(package.read_bytes())
    refuses_file(path, "it is not signed", trusted_keys=[pem])
    (tmp_path / "twilio-1.0.0.zip.sig").write_bytes(key.sign(path.read_bytes()))
    assert load(path, trusted_keys=[pem]).name == "twilio"
    stranger = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert load(path, trusted_keys=[stranger, raw]).name == "twilio"
    refuses_file(path, "by none of the trusted keys", trusted_keys=[stranger])
    (tmp_path / "twilio-1.0.0.zip.sig").write_bytes(b"x" * 64)
    refuses_file(path, "by none of the trusted keys", trusted_keys=[pem])


# Of the algorithm 1.3.101.127, which nobody knows.
UNKNOWN = (
    "-----BEGIN PUBLIC KEY-----\n"
    + base64.b64encode(bytes.fromhex("302a300506032b657f032100") + bytes(32)).decode()
    + "\n-----END PUBLIC KEY-----\n"
)


def test_a_key_that_is_no_ed25519_public_key_is_refused(package, tmp_path):
    path = tmp_path / "twilio-1.0.0.zip"
    path.write_bytes(package.read_bytes())
    (tmp_path / "twilio-1.0.0.zip.sig").write_bytes(b"x" * 64)
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    refuses_file(path, "no Ed25519 public key", trusted_keys=["nonsense"])
    refuses_file(path, "no Ed25519 public key", trusted_keys=[other])


def test_no_trusted_key_at_all_trusts_nobody(package, tmp_path, keys):
    path = tmp_path / "twilio-1.0.0.zip"
    path.write_bytes(package.read_bytes())
    refuses_file(path, "it is not signed", trusted_keys=[])
    (tmp_path / "twilio-1.0.0.zip.sig").write_bytes(keys[0].sign(path.read_bytes()))
    refuses_file(path, "by none of the trusted keys", trusted_keys=[])
    refuses_file(ROOT, "only a package file can be verified", trusted_keys=[])
    assert load(path, trusted_keys=None).name == "twilio"


def test_a_key_that_cannot_be_used_does_not_hide_the_right_one(package, tmp_path, keys):
    key, raw, _ = keys
    path = tmp_path / "twilio-1.0.0.zip"
    path.write_bytes(package.read_bytes())
    (tmp_path / "twilio-1.0.0.zip.sig").write_bytes(key.sign(path.read_bytes()))
    assert load(path, trusted_keys=[UNKNOWN, "nonsense", "\ud800", raw]).name == "twilio"
    refuses_file(path, "no Ed25519 public key", trusted_keys=[UNKNOWN])


def test_of_a_signature_no_more_is_read_than_one_has(package, tmp_path, keys):
    key, raw, _ = keys
    path = tmp_path / "twilio-1.0.0.zip"
    path.write_bytes(package.read_bytes())
    with (tmp_path / "twilio-1.0.0.zip.sig").open("wb") as file:
        file.write(key.sign(path.read_bytes()))
        file.truncate(2**34)  # a sparse file, larger than most memory
    refuses_file(path, "by none of the trusted keys", trusted_keys=[raw])


def test_a_package_leaves_no_finder_and_no_module_behind(package):
    import gc

    gc.collect()  # packages that other tests have loaded
    before = len(sys.meta_path)
    loaded = load(package)
    assert len(sys.meta_path) == before + 1
    del loaded
    gc.collect()
    assert len(sys.meta_path) == before
    assert not [name for name in sys.modules if name.startswith("actions")]


def test_a_traceback_through_a_package_shows_its_lines(package):
    import traceback

    handler = load(package).actions["send_sms"].handler
    with pytest.raises(KeyError) as caught:
        handler.run({}, None)
    assert 'sender = inputs["from"]' in "".join(traceback.format_exception(caught.value))


def described(connector):
    actions = connector.actions.values()
    return connector.manifest, [(a.name, a.input_schema, a.output_schema) for a in actions]


HEADER = 56  # about what a local header takes with its name


@pytest.fixture(scope="module")
def good(package):
    """The package's bytes, what it loads as, and the places of its headers and its directory."""
    content = package.read_bytes()
    with zipfile.ZipFile(package) as zipped:
        headers = [m.header_offset + n for m in zipped.infolist() for n in range(HEADER)]
        headers += range(zipped.start_dir, len(content))
    return content, described(load(package)), headers


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    flips=st.lists(
        st.tuples(st.booleans(), st.integers(0, 2**32), st.integers(1, 255)), min_size=1, max_size=3
    )
)
def test_flipped_bytes_give_the_same_connector_or_a_refusal(good, tmp_path_factory, flips):
    content, expected, headers = good
    flipped = bytearray(content)
    for in_header, place, bits in flips:
        flipped[headers[place % len(headers)] if in_header else place % len(content)] ^= bits
    path = tmp_path_factory.getbasetemp() / "flipped.zip"
    path.write_bytes(flipped)
    try:
        connector = load(path)
    except errors.InvalidPackage:
        return
    assert described(connector) == expected
