"""The only place with Amazon Connect's spelling."""
