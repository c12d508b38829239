"""Operators that replace weight matrices by products of thinner ones."""
