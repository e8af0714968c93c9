"""The operator's commands: ``python3 -m tools operate [--stack NAME | --local] COMMAND ...``.

    target        what the commands work on, and what it answers
    deployed      a stack on AWS, found by its name
    local         the one that ``python3 -m tools stack`` keeps running
    log_lines     what the log says of a contact
    dead_letters  the queue of events that could not be delivered
    terminal      questions, progress, moments as people type and read them
    records       a contact's record, shown, and what its state means
    evidence      what shows in Salesforce whether a record's update was applied
    show, attention, decisions, backfill, redrive  the commands; decisions has release and close
    command_line  the options, and which command runs

Nothing they print holds a number, an attribute's value or a token: records and log lines hold none, and of an event
kept in the dead-letter queue the contact's id alone is shown.
"""

from tools.operate.command_line import main

__all__ = ["main"]
