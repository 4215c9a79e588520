"""What the fake says, as people write it: the script's model, its loader, what is prepared."""
