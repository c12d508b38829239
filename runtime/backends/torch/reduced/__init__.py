"""What makes a module smaller or sparser: which blocks can go, and which weights can be zero."""
