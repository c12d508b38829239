"""Two models side by side: which layers changed, and how far their weights and answers are from each other's."""
