"""Reads template.yaml, for the tests and for the local stack, so that nothing in it is described twice.

Reading (`load`, `table_definition`) needs only PyYAML and takes less than 0.1 s. `translate` also imports AWS's own SAM
translator, which takes over half a second.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

# Stubs for PyYAML are no package of ours: one import, whose values are checked where they are used.
import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Template = dict[str, Any]

ARTIFACT = "s3://artifacts/voicecall-sync"
"""The CodeUri in a translation. The translator expects an upload, and never reads it."""

_WITHOUT_PREFIX = ("Ref", "Condition")
_TABLE_SETTINGS = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")


class _Loader(yaml.CSafeLoader):  # type: ignore[misc] # PyYAML's classes are untyped
    """PyYAML's safe loader, in C, knowing CloudFormation's short tags; a class of its own leaves PyYAML's as it was."""


def _intrinsic(loader: Any, tag: str, node: Any) -> dict[str, Any]:  # noqa: ANN401  (PyYAML is untyped)
    """Turns `!Sub x` into `{"Fn::Sub": "x"}`, and `!GetAtt a.b` into `{"Fn::GetAtt": ["a", "b"]}`."""
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if tag == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {tag if tag in _WITHOUT_PREFIX else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def load(path: Path) -> Template:
    """Returns the template at `path` with every short tag (`!Ref`, `!Sub`, ...) in its long form.

    Raises:
        OSError: the file can't be read.
        yaml.YAMLError: it is no YAML.
        TypeError: it is YAML, but no mapping.
    """
    template = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a safe loader's child)
    if not isinstance(template, dict):
        raise TypeError(f"{path} is no CloudFormation template: its top level is {type(template).__name__}")
    return template


def translate(template: Template, parameters: Mapping[str, str] | None = None) -> Template:
    """Returns the translation of the SAM template, made here without AWS.

    Args:
        template: as `load` gives it; left unchanged.
        parameters: values for the template's parameters. Most stay references in the result, as on AWS. The
            translator reads only those that decide which resources it makes.

    Raises:
        samtranslator.model.exceptions.InvalidDocumentException: the template is no valid SAM.
    """
    # Half a second: the demo, which only wants the table, should not pay it.
    import boto3  # noqa: PLC0415
    from samtranslator.parser.parser import Parser  # noqa: PLC0415
    from samtranslator.translator.translator import Translator  # noqa: PLC0415

    source = copy.deepcopy(template)
    source["Globals"]["Function"]["CodeUri"] = ARTIFACT
    # The Region is a placeholder: the translator refuses to start without one and would ask the environment.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    translated: Template = translator.translate(source, dict(parameters or {}))
    translator.metrics.publish()  # writes nothing here; without it the translator complains in the log
    return translated


def table_definition(template: Template) -> dict[str, Any]:
    """Returns the arguments of DynamoDB's CreateTable for the idempotency table, its name excepted.

    Keys, index and billing mode decide which requests the ledger can make. Time to live, recovery and encryption stay
    in the template. They protect the table on AWS only, or are not arguments of CreateTable.
    """
    properties = template["Resources"]["IdempotencyTable"]["Properties"]
    return {setting: copy.deepcopy(properties[setting]) for setting in _TABLE_SETTINGS}
