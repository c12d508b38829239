"""A page of what an instrument saw: sections of tables and pictures as HTML that needs nothing else."""
