"""A fake Realtime server that hears: a product of its own, for any client of the API."""
