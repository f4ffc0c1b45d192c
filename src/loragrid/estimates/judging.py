"""How often judges would be asked, told before any of it costs something."""

from collections import Counter

from loragrid.estimates.workload import Workload
from loragrid.study.batches import missing_judgements
from loragrid.study.grid import Grid


def judging_line(grid: Grid, workload: Workload) -> str | None:
    """How many judgements are still to be asked for, by model; None if there are none.

    What was asked in another study is counted here, too, and asked no more; so are equal answers.

    Args:
        grid: the study.
        workload: knows how many prompts there are.
    """
    requests = Counter[str]()
    for answers in grid.answers.values():
        for id_ in missing_judgements(answers):
            score = answers.scores[id_]
            if score["opponent"] == answers.folder:
                continue  # compared with itself
            orders = 2 if score["opponent"] else 1
            number = workload.of_answers(answers).prompts * score["options"].get("repeats", 1) * orders
            requests[score["options"]["model"]] += number
    if not requests:
        return None
    asked = ", ".join(f"{number:,} of {model}" for model, number in sorted(requests.items()))
    return f"judgements to ask for, at most: {asked}"
