"""Images as a viewer shows them: which files of a folder they are, what each holds, and how its numbers become 0..1."""
