"""What the contract makes of a faithful candidate, simulated on the counts of the evaluation rows."""
