"""What PJSUA2 does not offer, by ctypes: modules that see messages before PJSUA does."""
