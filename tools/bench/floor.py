"""The floor: the same requests, with boto3 and a connection for each PATCH. No safety, no log, no metrics."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import ssl
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import boto3

_PACKAGES = ("aws_lambda_powertools", "jwt", "requests")
_made: dict[str, Any] = {}


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Open the connection, put a claim, send the PATCH, update the claim."""
    if not _made:
        session = boto3.Session()
        secret = session.client("secretsmanager").get_secret_value(SecretId=os.environ["JWT_SECRET_ID"])
        _made.update(
            table=session.client("dynamodb"),
            jwt=json.loads(secret["SecretString"])["jwt"],
            trusted=ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE")),
        )
    contact_id = event["Details"]["ContactData"]["ContactId"]
    table, owner, now = os.environ["IDEMPOTENCY_TABLE"], str(uuid.uuid4()), str(time.time())
    connection = _connection()
    connection.connect()
    _made["table"].put_item(
        TableName=table,
        Item={
            "contactId": {"S": contact_id},
            "state": {"S": "CLAIMED"},
            "owner": {"S": owner},
            "claimedAt": {"N": now},
        },
        ConditionExpression="attribute_not_exists(contactId)",
    )
    connection.request(
        "PATCH",
        f"/telephony/v1/voiceCalls/{contact_id}",
        body=json.dumps({"isActiveCall": True, "queue": "Support"}),
        headers={
            "Authorization": f"Bearer {_made['jwt']}",
            "Content-Type": "application/json",
            "Telephony-Provider-Name": "amazon-connect",
        },
    )
    status = connection.getresponse().status
    connection.close()
    _made["table"].update_item(
        TableName=table,
        Key={"contactId": {"S": contact_id}},
        UpdateExpression="SET #state = :state, httpStatus = :status",
        ConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#state": "state", "#owner": "owner"},
        ExpressionAttributeValues={
            ":state": {"S": "UPDATED"},
            ":status": {"N": str(status)},
            ":owner": {"S": owner},
        },
    )
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"the PATCH was answered with {status}")
    return {"status": "UPDATED", "contactId": contact_id, "detail": ""}


def after_our_imports(event: dict[str, Any], context: object) -> dict[str, str]:
    """Do the same after importing the artifact's other packages: a cold start without any code of ours."""
    for package in _PACKAGES:
        importlib.import_module(package)
    return handler(event, context)


def _connection() -> http.client.HTTPConnection:
    base = urlsplit(os.environ["SCRT_ENDPOINT_BASE"])
    host = str(base.hostname)
    if base.scheme == "https":
        return http.client.HTTPSConnection(host, base.port, context=_made["trusted"])
    return http.client.HTTPConnection(host, base.port)
