"""Decision rules, one subject a file: each settles something and says why."""
