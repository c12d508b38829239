"""Built-in operators, one a file, named family_name.py."""
