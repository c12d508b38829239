"""Pictures of numbers that a program has: learning curves, attention, models side by side."""
