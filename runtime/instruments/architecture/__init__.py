"""The architecture of a model: its layers and how data flows through them, folded by block and drawn as SVG."""
