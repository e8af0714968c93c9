"""Which stack a command works on, and the message if there is no such stack."""

import re

import pytest

from tests.cli.conftest import DeployedStack, Operate
from tools.local.local_stack import LocalStack
from tools.operate import main as from_a_clone
from voicecall_cli.command_line import COMMANDS

SPAN = ("--from", "2020-11-01T00:00:00Z", "--to", "2020-11-02T00:00:00Z")


def test_help_lists_every_command_with_an_example(operate: Operate) -> None:
    helped = operate("--help")

    assert helped.status == 0
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +\w", helped.out, re.MULTILINE)
        assert command.example in helped.out
        assert f"voicecall-sync {command.example}" in operate(name, "--help").out


def test_a_stack_that_is_not_there(operate: Operate) -> None:
    refused = operate("--stack", "nowhere", "attention")

    assert (refused.status, refused.out) == (2, "")
    assert refused.err == (
        "there is no stack nowhere in us-east-1: name it with --stack and its Region with --region\n"
    )


def test_the_stack_is_called_voicecall_sync_unless_said_otherwise(operate: Operate) -> None:
    assert operate("attention").err.startswith("there is no stack voicecall-sync in us-east-1")


def test_an_output_that_is_missing_is_named(operate: Operate, stack: LocalStack) -> None:
    older = DeployedStack(stack).create(without="ReconcileFunctionArn")

    refused = operate("--stack", older.name, "backfill", "--from=2020-11-01T00:00:00Z", "--to=2020-11-02T00:00:00Z")

    assert refused.status == 2
    assert re.fullmatch(r"the stack \S+ in us-east-1 has no output ReconcileFunctionArn: [^\n]+\n", refused.err)


def test_what_a_command_does_not_need_may_be_missing(operate: Operate, stack: LocalStack) -> None:
    older = DeployedStack(stack).create(without="ReconcileFunctionArn")

    assert operate("--stack", older.name, "attention").status == 0


def test_no_credentials(operate: Operate, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")

    refused = operate("attention")

    assert refused.status == 2
    assert re.fullmatch(r"there are no AWS credentials: [^\n]+\n", refused.err)


def test_no_region(operate: Operate, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")

    [variable] = re.findall(r"^no Region is set: give --region, or set (\w+)\n$", operate("attention").err)

    monkeypatch.setenv(variable, "us-east-1")
    assert operate("attention").err.startswith("there is no stack voicecall-sync in us-east-1")


def test_no_such_profile(operate: Operate) -> None:
    refused = operate("--profile", "unknown", "attention")

    assert (refused.status, refused.err.split(":")[0]) == (2, "there is no AWS profile unknown")


def test_an_aws_that_cannot_be_reached(operate: Operate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    refused = operate("attention")

    assert refused.status == 2
    assert re.fullmatch(r"AWS cannot be reached from here [^\n]+\n", refused.err)


def test_no_local_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VOICECALL_SYNC_LOCAL", str(tmp_path))

    assert from_a_clone(["--local", "attention"]) == 2
    assert "no local stack is running: start one with `python3 -m tools stack`" in capsys.readouterr().err


def test_the_local_stack_goes_with_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        from_a_clone(["--local", "--stack", "x", "attention"])
    assert "--local does not go with --stack" in capsys.readouterr().err


def test_help_from_a_clone_says_how_it_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        from_a_clone(["show", "--help"])
    assert "python3 -m tools operate show c3a8" in capsys.readouterr().out


def test_the_installed_command_knows_no_local_stack(operate: Operate) -> None:
    assert "--local" not in operate("--help").out
    assert "unrecognized arguments: --local" in operate("--local", "attention").err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("show", "../x"), "CONTACT must be a contact id"),
        (("attention", "--limit", "0"), "0 is not a whole number above 0"),
        (("release",), "name one CONTACT, or all of a --state"),
        (("release", "abc", "--state", "REJECTED"), "name one CONTACT, or all of a --state"),
        (("release", "abc", "--http-status", "400"), "go with --state"),
        (("release", "--state", "REJECTED", "--now"), "--now goes with one CONTACT"),
        (("release", "--state", "UPDATED"), "invalid choice"),
        (
            ("backfill", "--from", "2026-11-01", "--to", "2026-11-02T00:00:00Z"),
            "2026-11-01 is not a moment with its zone",
        ),
        (("backfill", "--from", "2026-11-02T00:00:00Z", "--to", "2026-11-01T00:00:00Z"), "--from must be before --to"),
        (("backfill", "--from", "2026-11-01T00:00:00Z"), "give --from and --to, or --contact"),
        (("backfill", "--contact", "abc", "--scope", "all"), "--contact does not go with --from, --to or --scope"),
        (("backfill", "--contact", "abc", "--follow", "soon"), "soon is not a number of minutes"),
        (("backfill", "--from", "2999-01-01T00:00:00Z", "--to", "2999-01-02T00:00:00Z"), "a moment in the past"),
        (("preview",), "give CONTACT, or --from and --to"),
        (("preview", "--from", "2020-11-01T00:00:00Z"), "give CONTACT, or --from and --to"),
        (("preview", "abc", "--first", "3"), "CONTACT does not go with --from, --to, --scope or --first"),
        (("preview", *SPAN, "--first", "501"), "501 is more than 500"),
        (("preview", *SPAN, "--values"), "--values goes with one CONTACT"),
        (("preview", "abc", "--values", "--json"), "--values and --json do not go together"),
        (("preview", "abc", "--values"), "--values needs your own terminal"),
    ],
)
def test_wrong_options_are_named_before_anything_is_called(
    operate: Operate, stack: LocalStack, words: tuple[str, ...], complaint: str
) -> None:
    stack.gateway.heal()

    refused = operate(*words)

    assert refused.status == 2
    assert complaint in refused.err
    assert stack.gateway.calls == []
