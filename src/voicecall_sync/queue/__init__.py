"""The only place with SQS's spelling: messages, and when they come back."""
