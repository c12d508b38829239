"""What no instrument takes, refused in the same words and under the same code by all of them."""
