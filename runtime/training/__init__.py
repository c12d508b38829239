"""The training loop that fitting, recovery and distillation share, and who watches it."""
