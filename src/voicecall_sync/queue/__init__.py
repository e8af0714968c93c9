"""The only place with SQS's spelling: what waits, and when it comes back."""
