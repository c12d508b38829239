"""Check a recipe's names, files, references and sections against each other, the catalog, and later the facts."""
