"""Whether the numbers of a model are sound: its weights, and with rows what its layers answer."""
