"""The only place with Salesforce's spelling."""
