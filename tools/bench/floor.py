"""The floor: the same round trips with bare botocore and urllib3, and nothing else. No safety, no log, no metrics."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

import botocore.session
import urllib3

_made: dict[str, Any] = {}


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Put a claim, send the PATCH, update the claim."""
    if not _made:
        session: Any = botocore.session.get_session()
        secrets = session.create_client("secretsmanager")
        secret = secrets.get_secret_value(SecretId=os.environ["JWT_SECRET_ID"])["SecretString"]
        _made.update(table=session.create_client("dynamodb"), http=urllib3.PoolManager(), jwt=json.loads(secret)["jwt"])
    contact_id = event["Details"]["ContactData"]["ContactId"]
    table, owner, now = os.environ["IDEMPOTENCY_TABLE"], str(uuid.uuid4()), str(time.time())
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
    answer = _made["http"].request(
        "PATCH",
        f"{os.environ['SCRT_ENDPOINT_BASE']}/telephony/v1/voiceCalls/{contact_id}",
        body=json.dumps({"isActiveCall": True, "queue": "Support"}),
        headers={
            "Authorization": f"Bearer {_made['jwt']}",
            "Content-Type": "application/json",
            "Telephony-Provider-Name": "amazon-connect",
        },
    )
    _made["table"].update_item(
        TableName=table,
        Key={"contactId": {"S": contact_id}},
        UpdateExpression="SET #state = :state, httpStatus = :status",
        ConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#state": "state", "#owner": "owner"},
        ExpressionAttributeValues={
            ":state": {"S": "UPDATED"},
            ":status": {"N": str(answer.status)},
            ":owner": {"S": owner},
        },
    )
    return {"status": "UPDATED", "contactId": contact_id, "detail": ""}
