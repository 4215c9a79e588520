"""The scripted caller, the stage on which a scenario is played, and the runner of many."""
