"""The Salesforce simulator told and asked over HTTP, for people and for other processes.

    GET  /simulator/voiceCalls   the VoiceCalls that exist, each with how many PATCHes it took
    GET  /simulator/received     every request so far and what became of it
    POST /simulator/next         {"behaviour": "Answer", "status": 503, "headers": {"Retry-After": "2"}}

These requests are no part of Salesforce: they need no token, are not recorded and meet no misbehaviour.
"""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import TYPE_CHECKING

from tools.local import misbehaviour, voice_call_rules
from tools.local.messages import Reply

if TYPE_CHECKING:
    from tools.local.messages import Request
    from tools.local.salesforce import Received, SalesforceSimulator

BEGINNINGS = (b"GET /simulator/", b"POST /simulator/")
"""How such a request begins."""


def reply(simulator: SalesforceSimulator, request: Request) -> Reply:
    """Do what the request says; an unknown one is answered 404, a bad behaviour 400 with what is bad."""
    match request.method, request.target:
        case "GET", "/simulator/voiceCalls":
            return Reply.of_json(HTTPStatus.OK, _voice_calls(simulator))
        case "GET", "/simulator/received":
            return Reply.of_json(HTTPStatus.OK, [_received(entry) for entry in simulator.received])
        case "POST", "/simulator/next":
            return _next(simulator, request)
        case _:
            return Reply.of_json(HTTPStatus.NOT_FOUND, {"message": "no such command"})


def _voice_calls(simulator: SalesforceSimulator) -> list[dict[str, object]]:
    return [
        {**dataclasses.asdict(call), "applied": simulator.applied(call_id)}
        for call_id, call in simulator.voice_calls.items()
    ]


def _received(entry: Received) -> dict[str, object]:
    behaviour = None if entry.behaviour is None else repr(entry.behaviour)
    return {**dataclasses.asdict(dataclasses.replace(entry, behaviour=None)), "behaviour": behaviour}


def _next(simulator: SalesforceSimulator, request: Request) -> Reply:
    description = voice_call_rules.parse_object(request.body)
    try:
        if description is None:
            raise ValueError("the body is no JSON object")  # noqa: TRY301 - one place answers all of them
        simulator.next(misbehaviour.from_json(description))
    except ValueError as error:
        return Reply.of_json(HTTPStatus.BAD_REQUEST, {"message": str(error)})
    return Reply.of_json(HTTPStatus.OK, {"message": "queued"})
