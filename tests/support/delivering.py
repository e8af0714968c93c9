"""A message of the contact queue, delivered as Lambda's event source mapping does."""

from collections.abc import Callable
from typing import Any

from tools.local.local_stack import LocalStack
from tools.local.mapping import Delivery, EventSourceMapping


def deliver(stack: LocalStack, invoke: Callable[[Any], object], body: object = None) -> Delivery:
    """Give a function the next message, or one with this body; none that is delayed or waits to come back."""
    if body is not None:
        stack.queue.send(body, delay=0)
    (delivery,) = EventSourceMapping(stack.sqs, stack.queue.url).turn(invoke)
    return delivery
