"""The bill of materials: what the package needs, in the versions installed at the build."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from . import package
from .changelog import changelog_date

# Licences that a classifier of the package index names exactly.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


def sbom(root: Path, target: str, content: bytes, required: Iterable[str]) -> bytes:
    """Return the CycloneDX document for the package file `target` with these bytes.

    It names every requirement, and theirs, with version and licence as installed here.
    The same package in the same environment gives the same bytes. Raise LookupError where a
    requirement is not installed.
    """
    manifest = json.loads((root / "connector.json").read_bytes())
    digest = hashlib.sha256(content).hexdigest()
    described = Component(
        name=manifest["name"],
        version=manifest["version"],
        type=ComponentType.APPLICATION,
        bom_ref=target,
        description=manifest["description"],
        licenses=[LicenseFactory().make_from_string(text) for text in package.licence(root)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    bom = Bom(serial_number=uuid.uuid5(uuid.UUID(manifest["guid"]), digest))
    bom.metadata.component = described
    bom.metadata.timestamp = _released(root, manifest["version"])
    components: dict[str, Component] = {}
    declared = [Requirement(line) for line in required]
    direct = [_component(requirement, components, bom) for requirement in declared]
    for requirement, component in zip(declared, direct, strict=True):
        component.properties.add(Property(name="connector:requirement", value=str(requirement)))
    bom.register_dependency(described, direct)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return text.encode() + b"\n"


def _released(root: Path, version: str) -> datetime.datetime:
    """Return SOURCE_DATE_EPOCH, or else midnight UTC of the day that the change log gives."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        seconds = int(os.environ["SOURCE_DATE_EPOCH"])
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    day = changelog_date((root / "CHANGELOG.md").read_text("utf-8"), version)
    if day is None:
        raise LookupError(f"CHANGELOG.md has no date for version {version}")
    return datetime.datetime.fromisoformat(f"{day}T00:00:00+00:00")


def _component(requirement: Requirement, components: dict[str, Component], bom: Bom) -> Component:
    """Return the component that answers a requirement, with all that it needs in turn."""
    name = canonicalize_name(requirement.name)
    if name in components:
        return components[name]
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise LookupError(f"the requirement '{requirement}' is not installed here") from error
    purl = PackageURL("pypi", None, name, installed.version)
    component = Component(
        name=name,
        version=installed.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=_licences(installed.metadata),
    )
    components[name] = component
    bom.components.add(component)
    needed = [
        _component(inner, components, bom)
        for inner in map(Requirement, installed.requires or ())
        if inner.marker is None
        or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras))
    ]
    bom.register_dependency(component, needed)
    return component


def _licences(metadata: importlib.metadata.PackageMetadata) -> list[License]:
    if "License-Expression" in metadata:
        return [LicenseFactory().make_from_string(metadata["License-Expression"])]
    named = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License :: OSI Approved :: ")
    ]
    text = metadata["License"].strip() if "License" in metadata else ""
    # A classifier such as "BSD License" stands for several licences; the text then says which.
    exact = all(name in _SPDX for name in named)
    if text and "\n" not in text and not (named and exact):
        named = [text]
    known = [_SPDX.get(name, name) for name in named]
    return [LicenseFactory().make_from_string(name) for name in sorted(known)]
