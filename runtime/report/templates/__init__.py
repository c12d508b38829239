"""The page, its style sheet and the Markdown, as Jinja templates."""
