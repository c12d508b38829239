"""Pictures as SVG text: the same values always give the same bytes, and colours follow the page that they stand in."""
