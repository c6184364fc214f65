"""The README inside a package, for people who have only the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from connector_runtime import errors


def package(files: Mapping[str, bytes]) -> str:
    """Return the README in Markdown, from the manifest and the schemas among a package's files."""
    manifest = json.loads(files["connector.json"])
    return "\n".join(_lines(manifest, files)) + "\n"


def _lines(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Iterator[str]:
    name, version = manifest["name"], manifest["version"]
    zipped = f"{name}-{version}.zip"
    first = manifest["actions"][0]["name"]
    yield f"# {manifest['displayName']} {version}\n"
    yield f"{manifest['description']} More about the service: {manifest['homepage']}.\n"
    yield "This package contains the connector and its runtime. It needs Python 3.10 or newer and"
    yield "the requirements in its `requirements.txt`.\n"
    yield f"```sh\npython {zipped} actions"
    yield f"python {zipped} describe {first}"
    yield f"python {zipped} run {first} --help\n```\n"
    yield f"A program that has a runtime ({manifest['runtime']}) loads it without unpacking:\n"
    yield "```python\nfrom connector_runtime import load\n"
    yield f'connector = load("{zipped}")'
    yield f'output = connector.run("{first}", inputs, settings)\n```\n'
    yield "`MANIFEST.sha256` has the hash of every other file. The file beside the package, with"
    yield "`.sha256` added, has the hash of the package: `load(…, sha256=…)` checks it."
    yield "`load(…, trusted_keys=[…])` checks the signature beside the package, if there is one.\n"
    yield "## Settings\n"
    yield "Set them for each environment. In a YAML file, they are under `environments:` and the"
    yield "environment's name; `--config FILE --environment NAME` reads them.\n"
    yield from settings_table(manifest)
    yield "\nA value that is missing, null or blank counts as not given. An action's own input"
    yield "is used before the setting of the same name.\n"
    yield "## Actions\n"
    for action in manifest["actions"]:
        yield f"### {action['displayName']} (`{action['name']}`)\n"
        yield f"{action['description']} See {action['documentation']}.\n"
        for title, key in (("Input", "input"), ("Output", "output")):
            yield from _fields(title, json.loads(files[action[key]]))
    yield "## Errors\n"
    yield "An error has `code`, `message`, `retryable`, `outcome` and more. Its text says where"
    yield "the fault is, what it is and what to do; the command line prints it.\n"
    yield from error_table()


def _fields(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    if not schema["properties"]:
        yield f"{title}: none.\n"
        return
    yield f"| {title.lower()} | type | what it is |\n|---|---|---|"
    for name, field in schema["properties"].items():
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        needed = ", required" if name in schema.get("required", ()) else ""
        kind = f"{' or '.join(kinds)}{needed if title == 'Input' else ''}"
        yield f"| `{name}` | {kind} | {_cell(field['description'])} |"
    yield ""


def settings_table(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Give the lines of the table of a connector's parameters and options."""
    yield "| setting | needed | what it is |\n|---|---|---|"
    for entry in manifest["parameters"]:
        needed = "yes" if entry["required"] else "no"
        secret = ", secret" if entry["secret"] else ""
        yield f"| `{entry['name']}` | {needed}{secret} | {_cell(entry['description'])} |"
    for entry in manifest["options"]:
        default = f"`{json.dumps(entry['default'])}`" if "default" in entry else "no"
        needed = f"no; {default} unless given" if "default" in entry else default
        yield f"| `{entry['name']}` | {needed} | {_cell(entry['description'])} |"


def error_table() -> Iterator[str]:
    """Give the lines of the table of errors, which is the same wherever it is shown."""
    yield "| code | when | outcome | may be repeated | what to do |\n|---|---|---|---|---|"
    for kind in errors.kinds():
        repeated = "yes" if kind.retryable else "no"
        yield f"| `{kind.code}` | {kind.when} | {kind.outcome} | {repeated} | {kind.advice} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
