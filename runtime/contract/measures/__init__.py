"""Gates on net benefit, on recalibration, and on metrics of the user's own."""
