"""Layer by layer: what a model takes in an engine, beside its parameters and FLOPs; as table, bars, roofline, trace."""
