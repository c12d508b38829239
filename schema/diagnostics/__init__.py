"""What went wrong, where, and what would fix it: values, their codes and how they are written."""
