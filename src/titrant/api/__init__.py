"""The public functions, a file a verb, and what they share: text or a path in, a value out, nothing printed."""
