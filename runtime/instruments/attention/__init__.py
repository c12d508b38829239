"""The attention weights of a model, read where they are computed, or computed again where that is fused."""
