"""The virtual lane: agent, fake and caller in memory under one virtual clock."""
