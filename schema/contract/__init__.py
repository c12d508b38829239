"""What a contract is held against besides its gates."""
