"""Training in less memory: activations that are computed again or lie on the disk, and what that saves."""
