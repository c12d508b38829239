"""Tasks whose answers are no classes: what each case scores, and what gates make of it."""
