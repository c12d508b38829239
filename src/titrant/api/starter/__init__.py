"""What `init` and `optimize` write: the request, its questions, and the lines of a starter recipe by section."""
