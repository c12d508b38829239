"""What inspection finds of models, data and user operators, kept by content."""
