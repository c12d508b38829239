"""Load sources, split rows, fit and apply transforms, count facts."""
