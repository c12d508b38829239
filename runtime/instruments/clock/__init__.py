"""Clocks for a user's own code, which stop when the device is done."""
