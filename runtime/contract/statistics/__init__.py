"""Bounds of proportions, means, percentiles and areas under ROC curves."""
