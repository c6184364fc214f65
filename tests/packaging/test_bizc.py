"""What is in the .bizc, judged by the documented form and by an XML Schema processor."""

import base64
import json
import re
import uuid
import zipfile

import pytest
from lxml import etree

from connector_build import bizagi_facts, bizc, package
from tests.conftest import MANIFEST, ROOT
from tests.packaging.conftest import edit_json, edit_text, put

XSD = "{http://www.w3.org/2001/XMLSchema}"
NAMESPACE = "http://tempuri.org/XMLSchema1.xsd"
MESSAGE = {
    "sid": "SM" + "b" * 32,
    "date_created": "2018-05-15T16:02:24",
    "date_updated": "2018-05-15T16:02:24",
    "date_sent": "2018-05-15T16:02:26",
    "account_sid": "AC" + "a" * 32,
    "to": "+15005550006",
    "from": "+15005550006",
    "body": "<Hola> & adiós",
    "status": "delivered",
    "api_version": "2010-04-01",
    "price": -0.0075,
    "price_unit": "USD",
    "error_code": "30003",
    "error_message": "Unreachable",
    "uri": "/2010-04-01/Accounts/AC.json",
}
ERROR = {"error": "REFUSED", "message": "Twilio refused it.", "status": 400}


@pytest.fixture(scope="module")
def definition(bizc):
    return json.loads((bizc / "def" / "connector.json").read_text("utf-8"))


def xsd(definition, action, way):
    (entry,) = (candidate for candidate in definition["actions"] if candidate["name"] == action)
    return etree.fromstring(base64.b64decode(entry[way]))


def document(name, value):
    """Write a value as the XML that an XSD of ours describes."""
    element = etree.Element(f"{{{NAMESPACE}}}{name}")
    for key, inner in value.items() if isinstance(value, dict) else ():
        element.extend(
            document(key, one) for one in (inner if isinstance(inner, list) else [inner])
        )
    if not isinstance(value, dict):
        element.text = str(value)
    return element


def test_archive_holds_what_is_documented_and_nothing_else(tmp_path):
    package.write(tmp_path / "twilio.bizc", bizc.contents(ROOT))
    with zipfile.ZipFile(tmp_path / "twilio.bizc") as archive:
        listed = archive.namelist()
    own = [name for name in listed if name.startswith("node_modules/")]
    assert sorted(set(listed) - set(own)) == [
        "README.md",
        "actions.js",
        *sorted(f"actions/{action['name'].replace('_', '-')}.js" for action in MANIFEST["actions"]),
        "auth/auth.js",
        "bizagiRouter.js",
        "def/connector.json",
        "etc/config.js",
        "etc/errors.js",
        "package.json",
    ]
    assert {name.split("/")[1] for name in own} == {"bizagi-connector", "twilio-connector"}
    assert all(name.endswith((".js", ".json")) for name in own)


def test_javascript_that_every_connector_shares_says_nothing_of_a_service():
    for path in (ROOT / "connector_build" / "bizagi").rglob("*.js"):
        assert not re.search(r"twilio|sms\b", path.read_text("utf-8"), re.I), path.name


def test_two_builds_are_the_same_bytes(tmp_path, tree, monkeypatch):
    package.write(tmp_path / "one", bizc.contents(ROOT))
    monkeypatch.setenv("TZ", "America/Bogota")
    package.write(tmp_path / "two", bizc.contents(tree))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_package_json_declares_no_dependency(bizc):
    declared = json.loads((bizc / "package.json").read_text("utf-8"))
    assert declared["dependencies"] == {}
    assert declared["version"] == MANIFEST["version"]


def test_definition_has_the_documented_form(definition):
    assert list(definition) == [
        *("globalguid", "name", "foldername", "description", "homeurl", "icon", "version"),
        *("runtimeversion", "author", "type", "systemdefinition", "actions"),
    ]
    assert definition["globalguid"] == MANIFEST["guid"]
    assert definition["foldername"] == definition["name"].lower()
    assert base64.b64decode(definition["icon"], validate=True) == (ROOT / "icon.png").read_bytes()
    for action in definition["actions"]:
        assert list(action) == [
            *("guid", "name", "displayName", "description", "actiontype", "contenttype", "resturl"),
            *("httpoperation", "useauthentication", "xsdinput", "xsdoutput"),
        ]
    assert [(action["name"], action["displayName"]) for action in definition["actions"]] == [
        (action["name"].replace("_", "-"), action["displayName"]) for action in MANIFEST["actions"]
    ]


def test_guids_are_of_the_random_form_different_and_always_the_same(definition):
    guids = [definition["globalguid"], *(action["guid"] for action in definition["actions"])]
    assert len(set(guids)) == 1 + len(MANIFEST["actions"])
    for guid in guids:
        assert (str(uuid.UUID(guid)), uuid.UUID(guid).version) == (guid, 4)
    # Studio knows an action by its GUID, so this one may never change.
    assert guids[1] == bizc.derived_guid(MANIFEST["guid"], "send_sms")
    assert guids[1] == "ed0ea93e-0973-42c0-9989-4501fc8dcd2f"


def test_parameters_are_authentications_and_options_are_properties(definition):
    system = definition["systemdefinition"]
    (authentication,) = system["authentications"]
    assert (authentication["authenticationtype"], authentication["name"]) == ("custom", "custom")
    assert authentication["properties"] == [
        {
            "name": name,
            "datatype": "",
            "required": required,
            "passwordmode": name == "authToken",
            "propertyvalues": [],
        }
        for name, required in [
            *(("from", False), ("voice_url", False), ("accountId", True), ("authToken", True))
        ]
    ]
    listed = {entry["name"]: entry for entry in system["properties"]}
    wanted = {"apiBaseUrl", "apiKeySid", "connectTimeoutSeconds", "timeoutSeconds", "maxAttempts"}
    assert listed.keys() == wanted | {"resolveSeconds", "proxyUrl"}
    assert [name for name, entry in listed.items() if entry["required"]] == []
    # An address may hold a password.
    assert [name for name, entry in listed.items() if entry["passwordmode"]] == ["proxyUrl"]


@pytest.mark.parametrize(
    ("action", "way", "root", "value"),
    [
        ("send-sms", "xsdinput", "inputs", {"input": {"from": "a", "to": "b", "body": "c"}}),
        ("send-sms", "xsdoutput", "outputs", {"output": MESSAGE, "error": ERROR}),
        ("get-sms-information", "xsdinput", "inputs", {"input": {"sid": MESSAGE["sid"]}}),
        ("get-sms-information", "xsdoutput", "outputs", {"output": MESSAGE, "error": ERROR}),
        ("get-all-sms", "xsdinput", "inputs", {"input": {}}),
        ("get-all-sms", "xsdoutput", "outputs", {"output": {"messages": []}, "error": ERROR}),
        (
            *("get-all-sms", "xsdoutput", "outputs"),
            {"output": {"messages": [MESSAGE, MESSAGE]}, "error": ERROR},
        ),
    ],
    ids=["send-in", "send-out", "look-up-in", "look-up-out", "list-in", "list-none", "list-two"],
)
def test_xsd_is_valid_and_takes_what_the_action_takes_or_gives(
    definition, action, way, root, value
):
    schema = etree.XMLSchema(xsd(definition, action, way))
    schema.assertValid(document(root, value))
    schema_element = xsd(definition, action, way)
    assert schema_element.attrib == {
        "id": "XMLSchema1",
        "targetNamespace": NAMESPACE,
        "elementFormDefault": "qualified",
    }


@pytest.mark.parametrize("action", ["send-sms", "get-sms-information"])
def test_xsd_takes_what_is_null_on_a_new_message_and_an_output_of_nothing(definition, action):
    schema = etree.XMLSchema(xsd(definition, action, "xsdoutput"))
    new = document("outputs", {"output": {**MESSAGE, "price": "", "date_sent": ""}, "error": {}})
    for name in ("price", "date_sent"):
        (element,) = new.iter(f"{{{NAMESPACE}}}{name}")
        element.text = None
        assert not schema.validate(new)
        element.set("{http://www.w3.org/2001/XMLSchema-instance}nil", "true")
    schema.assertValid(new)
    schema.assertValid(document("outputs", {"output": {}, "error": ERROR}))


@pytest.mark.parametrize(
    ("given", "is_enough"),
    [({"to": "b", "body": "c"}, True), ({"from": "a", "to": "b"}, False), ({}, False)],
    ids=["without-from", "without-body", "nothing"],
)
def test_input_that_a_parameter_can_give_is_optional(definition, given, is_enough):
    schema = etree.XMLSchema(xsd(definition, "send-sms", "xsdinput"))
    assert schema.validate(document("inputs", {"input": given})) == is_enough


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", "much"),
        ("date_created", "Tue, 15 May 2018 16:02:24 +0000"),
        ("unknown", "field"),
    ],
)
def test_xsd_refuses_what_the_action_never_gives(definition, field, value):
    schema = etree.XMLSchema(xsd(definition, "send-sms", "xsdoutput"))
    outputs = {"output": {**MESSAGE, field: value}, "error": ERROR}
    assert not schema.validate(document("outputs", outputs))


def test_types_are_those_of_bizagi(definition):
    fields = {
        element.get("name"): element.get("type")
        for element in xsd(definition, "send-sms", "xsdoutput").iter(f"{XSD}element")
        if element.get("type")
    }
    status = fields.pop("status")  # the error's, which comes last
    assert status == "xs:integer"
    assert fields["price"] == "xs:decimal"
    assert {fields[name] for name in ("date_created", "date_updated", "date_sent")} == {
        "xs:dateTime"
    }
    others = fields.keys() - {"price", "date_created", "date_updated", "date_sent"}
    assert {fields[name] for name in others} == {"xs:string"}


def test_list_is_an_unbounded_object(definition):
    schema = xsd(definition, "get-all-sms", "xsdoutput")
    (messages,) = schema.iterfind(f".//{XSD}element[@name='messages']")
    assert dict(messages.attrib) == {"name": "messages", "minOccurs": "0", "maxOccurs": "unbounded"}


def test_readme_describes_every_parameter_input_and_output(bizc):
    text = (bizc / "README.md").read_text("utf-8")
    for entry in [*MANIFEST["parameters"], *bizagi_facts.options(MANIFEST)]:
        assert f"**{entry['name']}**" in text
    for action in MANIFEST["actions"]:
        assert f"### {action['displayName']}" in text
        for way in ("input", "output"):
            schema = json.loads((ROOT / action[way]).read_text("utf-8"))
            for name in schema["properties"]:
                assert f"- **{name}** (" in text
    assert "%5Cn" in text
    assert "OUTCOME_UNKNOWN" in text


# One planted fault for each rule about the Bizagi package.


def findings(tree, rule):
    return [(finding.file, finding.place) for finding in bizc.check(tree) if finding.rule == rule]


def test_tree_has_no_fault(tree):
    assert bizc.check(tree) == []


def test_action_without_javascript_is_found(tree):
    (tree / "marketplace" / "bizagi" / "actions" / "send-sms.js").unlink()
    assert findings(tree, "bizc-handler") == [("marketplace/bizagi/actions/send-sms.js", "")]


def test_javascript_without_action_is_found(tree):
    (tree / "marketplace" / "bizagi" / "actions" / "make-call.js").write_text("'use strict';\n")
    assert findings(tree, "bizc-handler") == [("marketplace/bizagi/actions/make-call.js", "")]


def test_name_that_is_not_dash_case_is_found(tree):
    edit_json(tree / "connector.json", lambda it: put(it, "actions.0.name", "Send_SMS"))
    assert findings(tree, "bizc-name") == [("connector.json", "Send-SMS")]


def test_keyword_that_the_javascript_does_not_know_is_found(tree):
    place = "properties.messages.items.properties.sid.format"
    edit_json(tree / "schemas" / "get_all_sms.output.json", lambda it: put(it, place, "uuid"))
    assert findings(tree, "bizc-keyword") == [
        ("schemas/get_all_sms.output.json", "messages[].sid.format")
    ]


@pytest.mark.parametrize(
    "rules",
    [
        {"type": "null"},
        {"type": "array"},
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
    ],
    ids=["null", "list-of-anything", "list-of-lists"],
)
def test_type_that_bizagi_does_not_have_is_found(tree, rules):
    name = "schemas/send_sms.output.json"
    field = {"description": "Another.", "examples": [None], **rules}
    edit_json(tree / name, lambda it: put(it, "properties.another", field))
    assert findings(tree, "bizc-type") == [(name, "another")]


@pytest.mark.parametrize(
    ("name", "place"),
    [("etc/notes.js", "etc/notes.js"), ("autotesting/config.js", "autotesting/config.js")],
)
def test_file_that_has_no_place_in_the_archive_is_found(tree, name, place):
    (tree / "marketplace" / "bizagi" / name).parent.mkdir(exist_ok=True)
    (tree / "marketplace" / "bizagi" / name).write_text("'use strict';\n")
    assert findings(tree, "bizc-list") == [(place, "")]


def test_file_that_the_archive_lacks_is_found(tree):
    (tree / "marketplace" / "bizagi" / "auth" / "auth.js").unlink()
    assert findings(tree, "bizc-list") == [("auth/auth.js", "")]


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("actions/send-sms.js", "require('twilio-connector/", "require('axios/", ""),
        ("actions/send-sms.js", "connector/messages'", "connector/mesages'", ""),
        ("actions/send-sms.js", "require('bizagi-connector/flow')", "require('../flow')", ""),
        ("twilio-connector/messages.js", "require('url')", "require('child_process')", ""),
        ("actions/send-sms.js", "exports.invoke =", "exports.run =", "invoke"),
        ("auth/auth.js", "exports.invoke =", "module.exports =", "invoke"),
    ],
    ids=["dependency", "typing-error", "outside", "of-node", "handler", "auth"],
)
def test_javascript_that_lacks_something_is_found(tree, name, old, new, place):
    edit_text(tree / "marketplace" / "bizagi" / name, old, new)
    assert (f"marketplace/bizagi/{name}", place) in findings(tree, "bizc-require")


@pytest.mark.parametrize(
    "name", ["twilio-connector/stray.js", "notes.txt", "twilio-connector/data.json"]
)
def test_file_that_nothing_needs_is_found(tree, name):
    (tree / "marketplace" / "bizagi" / name).write_text("'use strict';\n")
    assert findings(tree, "bizc-list") == [(f"marketplace/bizagi/{name}", "")]


def test_missing_hints_are_found(tree):
    (tree / "auth" / "hints.json").unlink()
    assert findings(tree, "bizc-list") == [("auth/hints.json", "")]


def test_field_whose_name_xml_can_not_hold_is_found(tree):
    field = {"type": "string", "description": "Another.", "examples": ["a"]}
    name = "schemas/get_sms_information.input.json"
    edit_json(tree / name, lambda it: put(it, "properties.2nd sid", field))
    assert findings(tree, "bizc-xsd") == [("def/connector.json", "get-sms-information.xsdinput")]


def test_icon_that_is_no_png_is_found(tree):
    (tree / "icon.png").write_bytes(b"GIF89a")
    assert findings(tree, "bizc-icon") == [("icon.png", "")]


HEAD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">'
SEQUENCE = "<xs:complexType><xs:sequence>{}</xs:sequence></xs:complexType>"


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        ('<xs:element name="inputs">', "not well-formed"),
        ('<xs:element name="outputs"/>', "a schema of one element, 'inputs'"),
        ('<xs:element name="inputs"/>', "inputs: an object must be a complexType"),
        (
            f'<xs:element name="inputs">{SEQUENCE}</xs:element>'.format("<xs:any/>"),
            "it must be an element",
        ),
        (
            f'<xs:element name="inputs">{SEQUENCE}</xs:element>'.format(
                '<xs:element name="a" type="xs:anyURI"/>'
            ),
            "inputs.a: 'xs:anyURI' is no type for Bizagi",
        ),
        (
            f'<xs:element name="inputs">{SEQUENCE}</xs:element>'.format(
                2 * '<xs:element name="a" type="xs:string"/>'
            ),
            "inputs.a: it is declared twice",
        ),
    ],
    ids=["not-well-formed", "outermost", "empty", "no-element", "type", "twice"],
)
def test_faults_of_an_xsd_are_named(inner, said):
    (fault,) = bizc.xsd_faults(f"{HEAD}{inner}</xs:schema>", "inputs")
    assert said in fault
