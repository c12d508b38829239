"""Decision rules, one subject a file."""
