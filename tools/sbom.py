"""``python3 -m tools sbom``: the built artifact's bill of materials, in CycloneDX's JSON.

It lists each package in the artifact with its version, its package URL, its licence and its wheel's SHA-256. The
licence is the one that the package states.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name, parse_wheel_filename

from tools.local.local_stack import ROOT
from tools.sam import ARTIFACT

_WHEELS = "wheels.sha256"
"""The Makefile writes it: which wheels pip took, a line for each as `sha256sum` has it."""

Wheels = Mapping[tuple[str, str], str]
"""A package's name and version -> the SHA-256 of its wheel."""


class CannotListError(Exception):
    """There is no artifact, or it has a package without a known wheel."""


def main(arguments: Sequence[str]) -> int:
    """Write the bill of materials; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools sbom", description=__doc__.partition("\n\n")[2])
    parser.add_argument(
        "--artifact", type=Path, default=ARTIFACT, metavar="FOLDER", help="a built function; without it, `sam build`'s"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to; without it, to the standard output")
    options = parser.parse_args(arguments)
    try:
        text = bill_of_materials(options.artifact)
        if options.output:
            options.output.write_text(text, encoding="utf-8")
        else:
            print(text, end="")
    except (CannotListError, OSError) as failure:
        print(failure, file=sys.stderr)
        return 2
    return 0


def bill_of_materials(artifact: Path) -> str:
    """Return the bill of materials of a built function.

    Raises:
        CannotListError: The folder holds no built function, or a package of which no wheel is known.
    """
    if not (artifact / _WHEELS).is_file():
        raise CannotListError(f"{artifact} holds no built function: run `sam build` first")
    wheels = _wheels((artifact / _WHEELS).read_text(encoding="utf-8"))
    packages = [_package(found, wheels) for found in distributions(path=[str(artifact)])]
    bom = Bom(components=packages)
    bom.metadata.component = _application()
    bom.register_dependency(bom.metadata.component, packages)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _wheels(text: str) -> Wheels:
    wheels: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        digest, file = line.split("  ")
        name, version, _, _ = parse_wheel_filename(file)
        wheels[name, str(version)] = digest
    return wheels


def _application() -> Component:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        description=project["description"],
        bom_ref=project["name"],
    )


def _package(found: Distribution, wheels: Wheels) -> Component:
    name = canonicalize_name(found.name)
    digest = wheels.get((name, found.version))
    if digest is None:
        raise CannotListError(f"{_WHEELS} has no wheel of {name} {found.version}, which is in the artifact")
    stated = found.metadata.json
    licence = str(stated.get("license_expression") or stated.get("license") or "")
    purl = PackageURL("pypi", name=name, version=found.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=found.version,
        purl=purl,
        bom_ref=purl.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
