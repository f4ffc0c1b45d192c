"""The words with which a question with choices is put to a model; a source in another language has its own."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class Wording:
    """What stands around questions, choices and answers. The defaults are those of MMLU (Hendrycks et al. 2021).

    Args:
        about: what stands first, once; `{subject}` is the subject. Empty for nothing.
        without_subject: the same for questions that have none.
        question: what stands before a question.
        answer: where the answer is to come, a line of its own.
        subjects: what subjects are called in this language; others by their own name.
    """

    about: str = "The following are multiple choice questions (with answers) about {subject}.\n\n"
    without_subject: str = "The following are multiple choice questions (with answers).\n\n"
    question: str = ""
    answer: str = "Answer:"
    subjects: Mapping[str, str] = field(default_factory=dict)

    def introduction(self, subject: str | None) -> str:
        """What stands before the first question on a subject."""
        if subject is None:
            return self.without_subject
        return self.about.replace("{subject}", self.subjects.get(subject, subject.replace("_", " ")))

    def asked(self, question: str, choices: Sequence[str]) -> str:
        """A question with its choices, up to where the letter of one is to come.

        Args:
            question: its text.
            choices: at most as many as there are letters.
        """
        lines = (f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, choices, strict=False))
        return f"{self.question}{question.strip()}\n{''.join(lines)}{self.answer}"
