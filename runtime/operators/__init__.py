"""Built-in operators: the folder is the family, the file the name."""
