"""``python -m tools.local.ministack_server PORT``: MiniStack on 127.0.0.1, behind the door of all local servers.

MiniStack's own command lets every web page in: it answers with ``Access-Control-Allow-Origin: *``. Like AWS's, its
EventBridge refuses events from AWS's own services. Here it accepts them, because a test sends Amazon Connect's.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app
from ministack.services import eventbridge

from tools.local.door import HOST, own_hosts, refusal

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPResponseStartEvent, Scope

_KEEP_ALIVE_SECONDS = 75.0


def main(port: int) -> None:
    """Serve until the process ends."""
    eventbridge._put_events = functools.partial(eventbridge._put_events, allow_aws_source=True)  # noqa: SLF001 - see above
    own = own_hosts(port)

    async def guarded(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "websocket":  # no client of ours opens one; unanswered, hypercorn refuses it
            return
        if scope["type"] == "http":
            headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            why = refusal(lambda name: headers.get(name.lower()), own)
            if why is None and scope["method"] == "GET" and b"Action=" in scope["query_string"]:
                why = "AWS's clients ask for an action by POST only"  # a page's image or link would do it by GET
            if why is not None:
                await _refuse(why, send)
                return
        await app(scope, receive, send)

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.loglevel = "WARNING"
    asyncio.run(serve(guarded, config))


async def _refuse(why: str, send: ASGISendCallable) -> None:
    start: HTTPResponseStartEvent = {"type": "http.response.start", "status": HTTPStatus.FORBIDDEN, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": why.encode(), "more_body": False})


if __name__ == "__main__":
    main(int(sys.argv[1]))
