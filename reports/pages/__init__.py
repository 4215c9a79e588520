"""The pages that people look at: a run, a call, a load ramp."""
