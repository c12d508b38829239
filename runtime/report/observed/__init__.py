"""What steps saw inside models, as sections of the report: a file a subject."""
