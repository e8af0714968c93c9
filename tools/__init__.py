"""Development and operation: what a developer or an operator runs, never part of the Lambda artifact."""
