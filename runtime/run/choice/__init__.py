"""What is known of candidates before evaluation rows are read, and which of them are judged."""
