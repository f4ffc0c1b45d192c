"""Errors that are the user's to mend, told without a traceback."""


class UserError(Exception):
    """Something a user can put right: bad input, a bad study, a missing file.

    The message says what is wrong, where (file, key, run) and what to do. The command line prints it alone and
    exits with status 1; anything that is not a `UserError` is a defect and keeps its traceback.
    """


class ServerFailed(RuntimeError):
    """A server that this process has started did not start, ended, or answers what nobody understands."""


class ServerOutOfMemory(ServerFailed):
    """It was killed since the job's memory limit was reached."""


class WorkerKilled(UserError):
    """A process that worked for this one was killed, as the system does when memory is short."""


class NodeError(RuntimeError):
    """The machine that a job has come to is no good for it; another one may be better."""


class StudyError(UserError):
    """A study file with problems, all of them listed at once.

    Args:
        file: the study file as the user named it.
        problems: one line each, beginning with the key it is about.
    """

    def __init__(self, file: str, problems: list[str]):
        self.file = file
        self.problems = problems
        plural = "problem" if len(problems) == 1 else "problems"
        super().__init__(f"{file}: {len(problems)} {plural}\n" + "\n".join(f"  - {p}" for p in problems))


MESSAGE = 100
"""Characters of a file that a message quotes at most."""


def shortened(text: str) -> str:
    """No more of a text than a message may quote.

    Args:
        text: from a file.
    """
    return text if len(text) <= MESSAGE else f"{text[: MESSAGE - 2]} …"
