"""Time models and functions side by side: their inputs, the turns, the figures with bounds, and how they read."""
