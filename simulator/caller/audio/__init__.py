"""The sounds that the caller makes: utterances, noise, files, keys."""
