"""VoiceCall Sync: one Amazon Connect contact, one PATCH of its Salesforce VoiceCall.

Never two, and none lost without a trace. To follow one contact through the code, read the modules
in this order; each imports only from those above it (a test keeps it so):

    errors         what can go wrong, and who should catch it
    clock          the two clocks, handed in; deadlines, and the moments of one contact
    outcome        what became of one contact, as frozen values
    contact        Contact, and its making from each source; knows Connect's spelling
    custom_fields  contact attributes -> the fields of callAttributes
    voice_call     Contact -> body of the PATCH; knows Salesforce's spelling
    token          text of the secret -> credentials -> signed JWT
    attempt        one HTTP attempt, on a connection opened before the claim
    telephony      the request, and what an answer or a failure means
    record         a contact's record in the ledger, and how one reads it defensively
    table          the edge to DynamoDB
    ledger         claim, settle, read: what lets a contact be sent once
    backlog        what the ledger still has open, for those who look after many contacts
    report         what operators see of a contact: a log line, and metrics
    pace           how fast to call Amazon Connect
    connect        Connect's API: the contact, the names of its queue and agent, one page of a search
    sync           the pipeline, readable in one screen
    reconcile_request  what one run of the reconciliation is asked to do
    search         which contacts ended in a window, page by page
    summary        what one run did: counts, what is left
    reconcile      the contacts nobody told us of, and what is left open; then the same pipeline
    settings       the only reader of the environment
    app            the composition root
    handlers       the Lambda entry points
"""
