"""VoiceCall Sync: one Amazon Connect contact, one PATCH of its Salesforce VoiceCall.

Never two, and none lost without a trace. To follow one contact through the code, read the modules
in this order; each imports only from those above it (a test keeps it so):

    outcome                   what became of one contact, as frozen values
    errors                    what can go wrong, and who should catch it
    clock                     the two clocks, handed in; deadlines, and the moments of one contact
    times                     moments in ISO 8601, and windows of time
    contact                   Contact and what else is known of contacts, as values; scopes
    connect/fields            what contact flow events and described contacts share; Amazon Connect's spelling
    connect/events            contact flow event, contact event -> Asked, Contact
    connect/described         described contact, hit of a search -> Contact, FoundContact
    calls                     which contacts are calls of ours
    salesforce/custom_fields  contact attributes -> the fields of callAttributes
    salesforce/voice_call     Contact -> body of the PATCH; knows Salesforce's spelling
    salesforce/token          text of the secret -> credentials -> signed JWT
    salesforce/attempt        one HTTP attempt, on a connection opened before the claim
    salesforce/answers        the request, and what an answer or a failure means
    queue/breaker             while Salesforce does not answer, nothing is claimed
    ledger/record             a contact's record in the ledger, and how one reads it defensively
    ledger/table              the edge to DynamoDB
    ledger/claims             claim, settle, read: what lets a contact be sent once
    ledger/waiting            the record that is left for a contact whose message waits
    report                    what operators see of a contact: a log line, and metrics
    connect/api               Connect's API: the contact, the names of its queue and agent, one page of a search
    update                    the pipeline, readable in one screen
    queue/messages            a message of the contact queue, and the body of ours
    asked                     what a message's body asks for: contact events and our own told apart
    queue/coming_back         when a message comes back, and when it no longer does
    queue/api                 the edge to SQS
    enqueue                   what a contact flow could not have updated goes to the queue
    reconciliation/request    what one run of the reconciliation is asked to do
    eligibility               which contacts are updated, and when all of them is known
    ledger/open_contacts      what the ledger still has open, for the reconciliation and for operators
    reconciliation/positions  how far the two passes of the reconciliation have come
    connect/search            which contacts ended in a step of time, page by page
    worker                    one message of the contact queue, from its body to done or coming back
    reconciliation/run        finds what no event told of, and enqueues it
    settings                  the only reader of the environment
    app                       the three functions: from an event to an answer
    wiring                    the composition root: builds what they work with; the only place with clients
    handlers                  the Lambda entry points
"""
