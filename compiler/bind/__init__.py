"""Check a recipe's names, files, references and sections against each other and the catalog."""
