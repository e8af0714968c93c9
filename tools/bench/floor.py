"""The floor: the same requests, with boto3 and a connection for each PATCH. No safety, no log, no metrics."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import ssl
import time
import uuid
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

import boto3

_PACKAGES = ("aws_lambda_powertools", "jwt", "requests")
_made: dict[str, Any] = {}


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Open the connection, put a claim, send the PATCH, update the claim; first describe a contact of the queue."""
    if not _made:
        session = boto3.Session()
        secret = session.client("secretsmanager").get_secret_value(SecretId=os.environ["JWT_SECRET_ID"])
        _made.update(
            session=session,
            table=session.client("dynamodb"),
            jwt=json.loads(secret["SecretString"])["jwt"],
            trusted=ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE")),
        )
    if "Records" in event:
        for record in event["Records"]:
            contact_id = json.loads(record["body"])["detail"]["contactId"]
            _update(contact_id, {"isActiveCall": False, **_described(contact_id)})
        return {"batchItemFailures": []}
    contact_id = event["Details"]["ContactData"]["ContactId"]
    _update(contact_id, {"isActiveCall": True, "queue": "Support"})
    return {"status": "UPDATED", "contactId": contact_id, "detail": ""}


def _described(contact_id: str) -> dict[str, Any]:
    """Read the record and the contact, and once the names of its queue and agent."""
    _made["table"].get_item(
        TableName=os.environ["IDEMPOTENCY_TABLE"], Key={"contactId": {"S": contact_id}}, ConsistentRead=True
    )
    if "connect" not in _made:
        _made["connect"] = _made["session"].client("connect")
    connect, instance = _made["connect"], os.environ["CONNECT_INSTANCE_ID"]
    contact = connect.describe_contact(InstanceId=instance, ContactId=contact_id)["Contact"]
    if "names" not in _made:
        queue = connect.describe_queue(InstanceId=instance, QueueId=contact["QueueInfo"]["Id"])["Queue"]["Name"]
        agent = connect.describe_user(InstanceId=instance, UserId=contact["AgentInfo"]["Id"])["User"]["Username"]
        _made["names"] = {"queue": queue, "agent": agent}
    times = {"startTime": contact["InitiationTimestamp"], "endTime": contact["DisconnectTimestamp"]}
    return {name: f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for name, moment in times.items()} | _made["names"]


def _update(contact_id: str, body: dict[str, Any]) -> None:
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
        body=json.dumps(body),
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


def after_our_imports(event: dict[str, Any], context: object) -> dict[str, Any]:
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
