"""The telephone side: everything that touches pjsua2."""
