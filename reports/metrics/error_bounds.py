"""How far each way to know an instant may be from the truth; docs/metrics.md has it for readers.

The sizes are those that at most one error in a hundred exceeds, in calls whose numbers are known by
construction (tests/reports/metrics/test_truth.py, tests/reports/hearing/test_random_faults.py) and
in those of `callerside calibrate`. What is known less well is worth less: an answer that was
recognised with less confidence, or in which something was lost, has larger ones. Those in noise are
what 99 of 100 errors keep to in calls of utterances that are not held out, and a quarter more.
"""

from callerside.reports.metrics.measurement import ErrorBound

EXACT = ErrorBound(0.0, "exact: marks of one clock")
SAID = ErrorBound(0.2, "the caller's clean speech, placed to the sample")
NOTED = ErrorBound(2.0, "when a process took note of a message")
TONE = ErrorBound(0.2, "a tone's edge")
NOISY_TONE = ErrorBound(5.0, "a tone's edge, under noise: it may rise as slowly")
TONE_HZ = ErrorBound(0.5, "a tone's frequency, over its length")
ENERGY_ONSET = ErrorBound(30.0, "an onset by its energy")
ENERGY_END = ErrorBound(60.0, "an end by its energy")
FAINTLY_MASKED_ONSET = ErrorBound(75.0, "an onset in a background that is louder than its edge")
FAINTLY_MASKED_END = ErrorBound(185.0, "an end in a background that is louder than its edge")
MASKED_ONSET = ErrorBound(185.0, "an onset in a background that is louder than it")
MASKED_END = ErrorBound(245.0, "an end in a background that is louder than it")
LOST_ONSET = ErrorBound(200.0, "an onset in a background that is louder than whole syllables")
LOST_END = ErrorBound(430.0, "an end in a background that is louder than whole syllables")
DROWNED_ONSET = ErrorBound(440.0, "an onset in a background that is nearly as loud")
DROWNED_END = ErrorBound(690.0, "an end in a background that is nearly as loud")
PACKET = ErrorBound(1.0, "a hole of whole packets, by its sound alone")
VAD_FRAME_MS = 32.0
"""Of the server's detector: as fine as it says when it heard the last voiced sample."""
FRAME = ErrorBound(20.0, "as the agent counts frames")
