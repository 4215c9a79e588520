"""Where the command `callerside` begins: it says which extra is missing, where one is."""

import os
import sys

from callerside.child_processes import ONE_THREAD

EXIT_FINE = 0
EXIT_COULD_NOT_RUN = 2


def main() -> int:
    """The command; returns the exit code, 2 where a plain install lacks what the harness needs."""
    os.environ.setdefault(ONE_THREAD, "1")  # before anything imports numpy
    try:
        from callerside.simulator.cli.main import main as command
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "callerside":
            raise
        from callerside.agent.telephony.engines import sentence, told_version

        if sys.argv[1:] == ["--version"]:
            print(told_version("callerside"))
            return EXIT_FINE
        print(
            f"{error.name} is not installed: the agent and the fake server run without it, and "
            f"the harness does not: pip install 'callerside[sim]'\n{sentence()}",
            file=sys.stderr,
        )
        return EXIT_COULD_NOT_RUN
    return command()
