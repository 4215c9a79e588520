"""The sip lane: processes, accounts, the relay between them, and what they leave behind."""
