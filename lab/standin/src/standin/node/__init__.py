"""What runs on an installed node."""
