"""Rows and exceptions of the contract that are about more than one run: waivers, earlier runs, published sets."""
