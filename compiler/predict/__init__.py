"""What a plan is expected to need and cost."""
