"""The scripted caller's behaviour, without I/O, with its driver and its recorder."""
