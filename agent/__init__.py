"""The production agent: answers a phone call and holds the conversation over the Realtime API."""
