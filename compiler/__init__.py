"""From a recipe and facts to an execution plan."""
