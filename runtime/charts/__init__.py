"""Charts of a report as SVG, drawn without a library."""
