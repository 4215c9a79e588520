"""What the fake says, as people write it: the script's model, its loader, what is prepared."""

__all__ = ["cache", "loader", "model", "prepare", "prepared", "reply"]
