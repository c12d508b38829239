"""Operators that run models over rows, measure their quality and judge candidates."""
