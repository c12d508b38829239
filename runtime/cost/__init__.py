"""What steps cost and how large files become, from a model's facts."""
