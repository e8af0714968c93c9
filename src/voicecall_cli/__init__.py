"""The operator's command: ``voicecall-sync [--stack NAME] COMMAND ...``.

``pipx install .`` installs it. From a clone, ``python3 -m tools operate`` is the same with one more target: the local
stack that ``python3 -m tools stack`` keeps running.

    target        what the commands work on, and what it answers
    deployed      a stack on AWS, found by its name
    log_lines     what the log says of a contact
    queues        the contact queue and the dead-letter queue: numbers, ages, SQS's own redrive
    tables        the console and the look of all tables
    terminal      questions, progress, moments as people type and read them
    records       a contact's record, shown, and what its state means
    evidence      what shows in Salesforce whether a record's update was applied
    watch         what becomes of one contact
    walk          drives the reconciliation over a span of time
    account       what became of many contacts
    outlook       what would become of a contact: described, mapped, judged
    finding       the first contacts of a span of time
    show, attention, preview, decisions, backfill, redrive  the commands; decisions has release and close
    command_line  the options, and which command runs

Nothing they print holds a number, an attribute's value or a token: records and log lines hold none, and of a message
of the dead-letter queue the contact's id and the reason alone are shown. The one exception is ``preview --values``, on
the operator's own terminal.
"""
