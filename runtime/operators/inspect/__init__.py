"""Operators that look inside a model: nothing is chosen or judged by what they see."""
