"""The only place that looks for finished calls without an update."""
