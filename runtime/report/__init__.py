"""Render a run as HTML, Markdown and JSON."""
