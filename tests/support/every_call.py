"""Every request that the code makes of AWS, once. A program: tests/stack/test_build.py runs it on the artifact.

Its arguments are a contact's id and a queue's address; the rest is in the functions' own variables. For each
service it prints, as JSON, the error of its client or its requests, or null.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import boto3

CONTACT_ID, QUEUE = sys.argv[1:]
CONNECT = os.environ["CONNECT_INSTANCE_ID"]
TABLE = os.environ["IDEMPOTENCY_TABLE"]
KEY = {"contactId": {"S": CONTACT_ID}}


def connect(client: Any) -> None:
    contact = client.describe_contact(InstanceId=CONNECT, ContactId=CONTACT_ID)["Contact"]
    client.describe_queue(InstanceId=CONNECT, QueueId=contact["QueueInfo"]["Id"])
    client.describe_user(InstanceId=CONNECT, UserId=contact["AgentInfo"]["Id"])
    began = contact["InitiationTimestamp"]
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": began, "EndTime": contact["DisconnectTimestamp"]}
    for page in client.get_paginator("search_contacts").paginate(InstanceId=CONNECT, TimeRange=window):
        _ = page["Contacts"]


def dynamodb(client: Any) -> None:
    item = {**KEY, "state": {"S": "CLAIMED"}, "open": {"S": "CLAIMED"}, "since": {"N": "1"}}
    client.put_item(TableName=TABLE, Item=item, ConditionExpression="attribute_not_exists(contactId)")
    update, settled = "SET #state = :state", {":state": {"S": "UPDATED"}}
    client.update_item(
        TableName=TABLE,
        Key=KEY,
        UpdateExpression=update,
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues=settled,
    )
    client.get_item(TableName=TABLE, Key=KEY, ConsistentRead=True)
    client.batch_get_item(RequestItems={TABLE: {"Keys": [KEY]}})
    claims = {
        "IndexName": "open-since",
        "KeyConditionExpression": "#open = :open",
        "ExpressionAttributeNames": {"#open": "open"},
        "ExpressionAttributeValues": {":open": {"S": "CLAIMED"}},
    }
    for page in client.get_paginator("query").paginate(TableName=TABLE, **claims):
        _ = page["Items"]


def secretsmanager(client: Any) -> None:
    client.get_secret_value(SecretId=os.environ["JWT_SECRET_ID"])


def sns(client: Any) -> None:
    topic = os.environ["ALARM_TOPIC_ARN"]
    client.publish(TopicArn=topic, Subject="VoiceCall Sync needs an operator", Message="1 contact")


def sqs(client: Any) -> None:
    client.get_queue_attributes(QueueUrl=QUEUE, AttributeNames=["ApproximateNumberOfMessages"])
    entry = {"Id": "0", "MessageBody": CONTACT_ID, "DelaySeconds": 0}
    client.send_message_batch(QueueUrl=QUEUE, Entries=[entry])
    reason = {"Reason": {"DataType": "String", "StringValue": "unknown"}}
    client.send_message(QueueUrl=QUEUE, MessageBody=CONTACT_ID, MessageAttributes=reason)
    # Lambda receives for the function, which is handed the receipt.
    message = client.receive_message(QueueUrl=QUEUE, WaitTimeSeconds=5)["Messages"][0]
    client.change_message_visibility(QueueUrl=QUEUE, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)


def sign_in(_client: Any) -> None:
    """botocore itself makes these clients, and calls them where the machine's configuration says so."""


CALLS: Mapping[str, Callable[[Any], None]] = {
    "connect": connect,
    "dynamodb": dynamodb,
    "secretsmanager": secretsmanager,
    "sns": sns,
    "sqs": sqs,
    **dict.fromkeys(("signin", "sso", "sso-oidc", "sts"), sign_in),
}


def error_of(calls: Callable[[], None]) -> str | None:
    try:
        calls()
    except Exception as error:  # noqa: BLE001 - the test shows any error
        return f"{type(error).__name__}: {error}"
    return None


def call(session: Any, service: str) -> None:
    CALLS[service](session.client(service))


if __name__ == "__main__":
    made = boto3.Session()
    print(json.dumps({service: error_of(partial(call, made, service)) for service in CALLS}))  # noqa: T201 - its answer
