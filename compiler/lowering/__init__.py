"""From recipe sections and decisions to the parameters and steps of operators."""
