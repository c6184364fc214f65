import re
import zlib

import pytest

from connector_build import checks
from tests.packaging.checks.planting import (
    HEX,
    LISTED,
    LOOK_UP,
    MESSAGE,
    NAME_FIELD,
    PLANTED,
    REQUESTS,
    SAYS_WHAT_TO_DO,
    SENT,
    chunk,
    code,
    edit,
    find,
    manifest,
    own,
    png,
    replace,
    rules,
    schema,
    svg,
    write,
)

# Built here, of parts: this file must not hold what the check, and others like it, look for.
CREDENTIALS = {
    "account SID": "AC" + HEX * 2,
    "message SID": "SM" + HEX * 2,
    "API key": "SK" + HEX[::-1] * 2,
    "auth token": HEX * 2,
    "auth token in quotes": '"' + HEX[::-1] * 2 + '"',
    "private key": "-----BEGIN " + "PRIVATE KEY-----",
    "private key of a kind": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "Basic header": "Authorization: Basic " + "QWxhZGRpbjpvcGVu" + "c2VzYW1lMTIz",
    "Bearer header": "Authorization: Bearer " + HEX + "-._" + HEX,
    "URL with a password": "https://somebody:" + "hidden" + "@example.com/",
    "access key": "AK" + "IA" + "ABCDEFGHIJKLMNOP",
    "GitHub token": "gh" + "p_" + HEX,
    "Slack token": "xo" + "xb-" + HEX,
    "payment key": "sk_" + "live_" + HEX,
    "account SID in capitals": "AC" + HEX.upper() * 2,
    "account SID in both cases": "AC" + HEX.upper() + HEX,
    "account SID behind an underscore": "my_AC" + HEX * 2,
    "SID of another kind": "US" + HEX * 2,
    "auth token in capitals": HEX.upper() * 2,
    "auth token behind an underscore": "token_" + HEX * 2 + "_old",
    "signed token": "ey" + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4f",
    "mail key": "S" + "G.ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc",
    "GitHub token of another kind": "github_" + "pat_11ABCDEFG0abcdefgh",
    "GitHub server token": "gh" + "s_" + HEX,
    "GitHub refresh token": "gh" + "r_" + HEX,
    "GitHub user token": "gh" + "u_" + HEX,
    "Google key": "AI" + "zaSyD-1234567890abcdefghijklmnopq",
    "database URL with a password": "postgres" + "://somebody:hidden@db/x",
    "URL with a password alone": "redis" + "://:hidden@db/0",
    "bearer header in small letters": "authorization: bearer " + HEX + "-" + HEX,
    "basic header in small letters": "authorization: basic " + "QWxhZGRpbjpvcGVu" + "c2VzYW1lMTIz",
}
NUMBERS = {
    "in Germany": "+49" + "301234567",
    "in the United States": "+1" + "4155552671",
    "one more than the reserved": "+1" + "4155550200",
    "behind whatsapp": "whatsapp:+44" + "7911123456",
}
SECRET_NAMES = ("apiToken", "clientSecret", "password", "passphrase", "privateKey", "access_key")
SECRET_NAMES += ("pwd", "passcode", "pin", "userPin", "PIN", "pass", "db_pass", "bearer", "jwt")
SECRET_NAMES += ("authKey", "signingKey", "encryption_key", "masterKey")


FAULTS = {
    "secret-plain: not kept secret": (
        "connector.json", "voiceToken", manifest("parameters.1.name", "voiceToken"),
    ),
    **{
        f"secret-plain: {name} as {way}": (
            file, name, schema(file, f"properties.{name}", NAME_FIELD),
        )
        for way, file in {"input": LOOK_UP, "output": SENT}.items()
        for name in ("authToken",)
    },
    "secret-plain: in items": (
        LISTED, "messages[0].apiKey", schema(LISTED, f"{MESSAGE}.properties.apiKey", NAME_FIELD),
    ),
    **{
        f"secret-plain: {name}": ("connector.json", name, manifest("options.3.name", name))
        for name in SECRET_NAMES[:1]
    },
    "credential: account SID": (PLANTED, "line 2", code(f"# {CREDENTIALS['account SID']}")),
    "phone-number: in Germany": (PLANTED, "line 2", code(f"# {NUMBERS['in Germany']}")),
    "credential: in a text of the picture": (
        "icon.png", "text in the picture",
        write("icon.png", png(64, 64, 0, chunk(b"tEXt", b"Comment\0AC" + HEX.encode() * 2))),
    ),
    "credential: in a compressed text of the picture": (
        "icon.png", "text in the picture",
        write("icon.png", png(
            64, 64, 0, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"AC" + HEX.encode() * 2)),
        )),
    ),
    "credential: in the drawing": (
        "icon.svg", "line 1", write("icon.svg", svg(f"<!-- AC{HEX * 2} -->")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


CLEAN = {
    "made-up SIDs": code(f"# AC{'a' * 32} SM{'b' * 32} {'0' * 32} AC{'aA' * 16} x_{'F' * 32}"),
    "made-up keys": code(f"# SG.{'x' * 22}.{'y' * 43} ghp_{'0' * 36} Bearer {'a' * 30}"),
    "hash": code(f"# {HEX * 4}"),
    "longer word": code(f"# x{HEX * 2} {HEX * 2}g"),
    "URL with a port": code("# https://example.com:8080/somebody@example.com"),
    "URL to fill in": code("# https://<user>:<password>@example.com"),
    "word before a short word": code("# Basic authentication, Bearer of news"),
    "word before a long word": code("# basic internationalization, bearer well-known-and-trusted"),
    "names that only sound secret": lambda tree: [
        schema(LOOK_UP, f"properties.{name}", NAME_FIELD)(tree)
        for name in ("apiKeySid", "shipping", "pinned", "passenger", "bypass", "keyword")
    ],
    "Twilio's test numbers": code("# +15005550006 +15005550000 whatsapp:+14155550123"),
    "other numbers": code("# +4930 2026-11-23T00:00:00+0000 1+23456789012345678"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(checks.check(tree)) == []


def test_every_name_of_a_secret_is_found(tree):
    for name in SECRET_NAMES:
        schema(LOOK_UP, f"properties.{name}", NAME_FIELD)(tree)
        named = {"name": name, "displayName": name, "description": "Planted.", "example": "a"}
        edit(
            "connector.json",
            lambda document, named=named: document["options"].append({**named, "type": "string"}),
        )(tree)
    findings = own(checks.check(tree))
    assert {finding.rule for finding in findings} == {"secret-plain"}
    places = [(finding.file, finding.place) for finding in findings]
    assert sorted(places) == sorted(
        (file, name) for file in ("connector.json", LOOK_UP) for name in SECRET_NAMES
    )


def test_no_finding_shows_the_secret_or_number_that_it_found(tree):
    planted = {**CREDENTIALS, **NUMBERS}
    code("\n".join(f"# {text}" for text in planted.values()))(tree)
    findings = checks.check(tree)
    assert {finding.place for finding in findings} == {f"line {n + 2}" for n in range(len(planted))}
    shown = checks.as_json(findings) + "".join(map(str, findings))
    for text in (HEX, HEX[::-1], "hidden", "QWxhZGRpbjpvcGVu", "ABCDEFGHIJKLMNOP"):
        assert text not in shown
    for number in NUMBERS.values():
        assert number[-8:] not in shown


def test_a_password_in_a_requirement_is_found_and_not_repeated(tree):
    secret = "planted" + "-password"
    address = f"https://user:{secret}@" + "example.com/requests.whl"
    replace("pyproject.toml", f'"{REQUESTS}"', f'"requests @ {address}"')(tree)
    findings = checks.check(tree)
    assert ("credential", "pyproject.toml") in rules(findings)
    assert not any(secret in str(finding) for finding in findings)


@pytest.mark.parametrize(
    ("rule", "planted"), [("credential", CREDENTIALS), ("phone-number", NUMBERS)]
)
def test_every_kind_of_it_is_found(tree, rule, planted):
    files = {f"auth/{re.sub('[^a-z]+', '_', kind.lower())}.py": kind for kind in planted}
    for file, kind in files.items():
        write(file, f'"""Planted."""\n# {planted[kind]}\n')(tree)
    findings = checks.check(tree)
    assert [(finding.rule, finding.file, finding.place) for finding in findings] == [
        (rule, file, "line 2") for file in sorted(files)
    ]
    assert all(SAYS_WHAT_TO_DO.search(finding.message) for finding in findings)
