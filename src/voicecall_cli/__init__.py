"""The operator's command: ``voicecall-sync [--stack NAME] COMMAND ...``.

``pipx install .`` installs it. From a clone, ``python3 -m tools operate`` is the same with one more target: the local
stack that ``python3 -m tools stack`` keeps running.

    target        the stack that the commands work on, and its answers
    deployed      a stack on AWS, found by its name
    log_lines     the log's lines about a contact
    queues        the contact queue and the dead-letter queue: numbers, ages, SQS's own redrive
    tables        the console and the look of all tables
    terminal      questions, progress, moments as people type and read them
    records       a contact's record, shown, and what its state means
    evidence      the columns in Salesforce that show whether a record's update was applied
    watch         follows one contact until it is settled
    walk          drives the reconciliation over a span of time
    account       counts the states of many contacts
    outlook       foresees the update of a contact: described, mapped, judged
    finding       the first contacts of a span of time
    show, attention, preview, decisions, backfill, redrive  the commands; decisions has release and close
    command_line  the options, and which command runs

The commands never print a telephone number, an attribute's value or a token. Records and log lines do not hold them. Of
a message in the dead-letter queue, the commands show the contact's id and the reason only. The one exception is
``preview --values``, on the operator's own terminal.
"""
