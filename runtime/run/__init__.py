"""Execute a plan: walk its steps, search among candidates, record what happened."""
