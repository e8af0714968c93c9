"""The only place with DynamoDB's spelling: one record for each contact."""
