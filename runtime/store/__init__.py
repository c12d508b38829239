"""What titrant keeps: artifacts and results by content, the folders of runs, and locks."""
