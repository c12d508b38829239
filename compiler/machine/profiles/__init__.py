"""Machines to plan for, from public specifications: one file each, `titrant plan --hardware NAME`."""
