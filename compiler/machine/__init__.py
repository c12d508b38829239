"""Say what this machine is, without measuring it, or read the description of another."""
