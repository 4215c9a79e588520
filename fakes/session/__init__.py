"""One Realtime session's behaviour, without I/O: what it hears, plans, answers and refuses."""
