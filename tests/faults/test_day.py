"""A day with everything that goes wrong, small: `python3 -m tools day` plays a large one."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.contacts import new_id
from tools.day import Day
from tools.local.gateway import AwsGateway
from tools.local.hand_clock import HandClock
from tools.local.local_stack import LocalStack
from tools.local.ministack import MiniStack


def test_each_finished_contact_is_updated_once_or_needs_an_operator(
    ministack: MiniStack, gateway: AwsGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    beginning = datetime.now(UTC) - timedelta(days=3)
    clock = HandClock(beginning)
    with LocalStack(ministack=ministack, gateway=gateway, table=f"day-{new_id()}", clock=clock.now) as stack:
        settings = {"RECONCILE_SCOPE": "all", "RECONCILE_PAUSED": "false", "RECONCILE_NOT_BEFORE": str(beginning)}
        for name, value in {**stack.environment(), **settings}.items():
            monkeypatch.setenv(name, value)
        day = Day(stack, clock, calls=60, seed=12)
        day.world.schedule(timedelta(hours=3))  # a run for each of two passes is most of what a small day costs
        for hours in (0, 22):  # a key would be read by each new sandbox
            day.world.plan(beginning + timedelta(hours=hours), lambda: stack.put_secret(stack.jwt_secret()))
        for _ in day.play():
            pass
        assert os.environ["RECONCILE_PAUSED"] == "false"
        assert day.ledger.lost > 0
        assert day.world.kills > 0
        assert day.wrong() == day.too_early() == []
        assert day.late_recordings
        assert day.uncertain() <= day.bound()
        assert day.ledger.most_live <= 2
        assert stack.queue.bodies == stack.dead_letters.bodies == []
