"""Each verb of the command line as a function: text or a path in, a value out, nothing printed."""
