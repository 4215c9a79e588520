"""The call of `callerside demo`: a scenario, and the function that its agent has."""

__all__: list[str] = []
