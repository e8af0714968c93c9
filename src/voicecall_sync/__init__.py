"""VoiceCall Sync: one Amazon Connect contact, one PATCH of its Salesforce VoiceCall.

Never two PATCHes, and no contact is lost without a trace. To follow one contact through the code, read the modules
in this order. Each imports only from those above it, and a test checks that:

    outcome                   the outcome of one contact's update, as frozen values
    errors                    the errors before a contact is claimed, and what they become
    clock                     the two clocks, handed in; deadlines, and the moments of one contact
    times                     spans of time
    parse                     text -> moment, boolean
    contact                   Contact, FoundContact and Asked, as values; scopes
    connect/fields            what contact flow events and described contacts share; Amazon Connect's spelling
    connect/events            contact flow event, contact event -> Asked, Contact
    connect/described         described contact, hit of a search -> Contact, FoundContact
    calls                     which contacts are calls to update
    salesforce/custom_fields  contact attributes -> the fields of callAttributes
    salesforce/voice_call     Contact -> body of the PATCH; Salesforce's property names
    salesforce/token          text of the secret -> credentials -> signed JWT
    salesforce/attempt        one HTTP attempt, on a connection opened before the claim
    salesforce/answers        the request, and the meaning of its answer or failure
    queue/breaker             while Salesforce does not answer, nothing is claimed
    ledger/record             a contact's record in the ledger, read defensively
    ledger/attention          which contacts need an operator, and why
    ledger/table              the edge to DynamoDB
    ledger/claims             claim, settle, read: a contact is sent once
    ledger/waiting            the record of a contact whose message waits
    report                    a log line and metrics of a contact, for operators
    connect/api               Connect's API: the contact, the names of its queue and agent, one page of a search
    update                    the pipeline, readable in one screen
    queue/messages            a message of the contact queue, and the body of our own messages
    asked                     body of a message -> Asked: a contact event, or our own message
    queue/depth               how much is in a queue
    queue/coming_back         when a message comes back, and when it no longer does
    queue/api                 the edge to SQS
    enqueue                   sends a flow's contact to the queue if it was not updated
    reconciliation/request    the request for one run of the reconciliation
    eligibility               which contacts are updated, and when all their values are known
    ledger/open_contacts      open contacts in the ledger, for the reconciliation and for operators
    reconciliation/positions  how far the two passes of the reconciliation have come
    reconciliation/counts     the results of one run, and its answer
    reconciliation/summary    what is open, in numbers; the text of the daily message
    alarm_topic               the edge to SNS
    connect/search            which contacts ended in a step of time, page by page
    worker                    one message of the contact queue, from its body to done or coming back
    reconciliation/daily_message  tells operators once a day what is open
    reconciliation/run        finds finished contacts without an event, and enqueues them
    settings                  the only reader of the environment
    app                       the three functions: from an event to an answer
    wiring                    the composition root: builds what they work with; the only place with clients
    handlers                  the Lambda entry points
"""
