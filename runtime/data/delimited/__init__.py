"""Read delimited text files: their encoding, separator, way of writing numbers and marks of missing values."""
