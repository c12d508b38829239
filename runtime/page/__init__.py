"""Pages of sections: values that templates lay out, for the report and for instruments."""
