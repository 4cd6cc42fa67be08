"""What things are called, in their exact spellings. Pure."""
