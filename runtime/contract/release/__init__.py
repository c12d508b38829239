"""What is let through although a gate did not pass."""
