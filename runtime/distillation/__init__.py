"""What a student learns of a teacher: its answers, and what its layers answer on the way."""
