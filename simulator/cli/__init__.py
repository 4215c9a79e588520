"""The command `callerside`."""
