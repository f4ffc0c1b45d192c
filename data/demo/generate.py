"""Make the demo data: dialogues in the raw format of EmpatheticDialogues, and a corpus to train a small base model on.

Everything is put together from phrases.py with a fixed seed, so that the files come out the same, byte for byte:

    python data/demo/generate.py [folder]
"""

import json
import random
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from phrases import (
    CHATS,
    EMOTIONS,
    FEELING_NOW,
    FOLLOW_UPS,
    GREETINGS,
    KIN,
    NAMES,
    PRONOUNS,
    SCENES,
    SLOTS,
    THANKS,
)

SEED = 20
DIALOGUES = {"train": 400, "valid": 50, "test": 70}
ONE_TURN = {"train": 6, "valid": 1, "test": 2}
CORPUS_BYTES = 420_000
CHAT_SHARE = 0.15
OVERHEARD_SHARE = 0.45
HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"


class Dialogue(NamedTuple):
    """A dialogue before it is written: the first and every other turn is by the person with the experience."""

    emotion: str
    situation: str
    turns: list[str]


def fill(text: str, words: dict[str, str]) -> str:
    """Fill in the slots and begin the sentence with a capital letter."""
    text = text.format_map(words)
    return text[:1].upper() + text[1:]


def draw(random_: random.Random) -> dict[str, str]:
    """Choose a word for every slot; {When} is the same word as {when}, at the beginning of a sentence."""
    words = {slot: random_.choice(choices) for slot, choices in SLOTS.items()}
    for slot in ("place", "weather", "number", "colour"):
        words[f"{slot}_2"] = random_.choice([word for word in SLOTS[slot] if word != words[slot]])
    words["name"] = random_.choice(list(NAMES))
    words["kin"] = random_.choice(list(KIN))
    return words


def capitals(words: dict[str, str]) -> dict[str, str]:
    """Add every slot with a capital letter."""
    return words | {slot.capitalize(): word[:1].upper() + word[1:] for slot, word in words.items()}


def dialogue(random_: random.Random, emotion_name: str, length: int) -> Dialogue:
    """Make a dialogue: the listener takes up the feeling and asks; later encourages."""
    emotion = EMOTIONS[emotion_name]
    event = random_.choice(emotion.events)
    words = draw(random_)
    words = capitals(words | PRONOUNS[KIN[words["kin"]]])
    greeting = random_.choice(GREETINGS)
    opening = fill(random_.choice(event.openings), words)
    if greeting.endswith(", ") and not opening.startswith("I "):
        opening = opening[0].lower() + opening[1:]
    opening = greeting + opening
    if random_.random() < 0.6:
        opening += f" {fill(random_.choice(emotion.feelings), words)}."
    which = random_.randrange(2)
    encouragements = random_.sample(emotion.encouragements, 2)
    turns = [
        opening,
        f"{random_.choice(emotion.acknowledgements)} {fill(event.questions[which], words)}",
        fill(event.answers[which], words),
        f"{encouragements[0]} {random_.choice(FOLLOW_UPS)}" if length > 4 else encouragements[0],
        f"{fill(random_.choice(FEELING_NOW), words)}" if length > 4 else "",
        f"{random_.choice(('I understand.', 'Thank you for telling me.', 'Of course.'))} {encouragements[1]}",
    ]
    if length == 5:
        turns[4] = random_.choice(THANKS)
    return Dialogue(emotion_name, fill(event.situation, words), turns[:length])


def dialogues(random_: random.Random) -> Iterator[Dialogue]:
    """Endless dialogues, no two of which begin with the same words."""
    seen = set()
    while True:
        emotion = random_.choice(list(EMOTIONS))
        length = random_.choices((2, 3, 4, 5, 6), weights=(15, 8, 45, 7, 25))[0]
        made = dialogue(random_, emotion, length)
        if made.turns[0] not in seen:
            seen.add(made.turns[0])
            yield made


def rows(made: Dialogue, number: int, random_: random.Random, candidates: list[str]) -> list[str]:
    """The lines of one dialogue; `candidates` are answers of others for the ninth field."""
    speakers = random_.sample(range(200), 2)
    marks = "_".join(
        f"{speaker}|{random_.randint(3, 5)}|{random_.randint(3, 5)}" for speaker in random_.sample(range(1, 6), 2)
    )
    lines = []
    for index, text in enumerate(made.turns, start=1):
        fields = [
            f"hit:{number // 2}_conv:{number}",
            str(index),
            made.emotion,
            made.situation.replace(",", "_comma_"),
            str(speakers[(index - 1) % 2]),
            text.replace(",", "_comma_"),
            marks,
            "",
        ]
        if candidates and index % 2 == 0:
            fields.append("|".join(text.replace(",", "_comma_") for text in candidates))
        lines.append(",".join(fields))
    return lines


def split_file(split: str, source: Iterator[Dialogue], first: int, random_: random.Random) -> bytes:
    """One file with as many usable dialogues as wanted, and with the faults that real files have."""
    made = [next(source) for _ in range(DIALOGUES[split])]
    answers = [dialogue_.turns[1] for dialogue_ in made]
    singles = [next(source) for _ in range(ONE_TURN[split])]
    blocks = [(dialogue_, "whole") for dialogue_ in made]
    blocks += [(single._replace(turns=single.turns[:1]), "whole") for single in singles]
    if split == "train":
        long = [dialogue_ for dialogue_ in made if len(dialogue_.turns) == 4]
        blocks += [(long[0], "whole"), (long[1], "whole")]  # given twice, under other names
        broken = islice((dialogue_ for dialogue_ in source if len(dialogue_.turns) == 4), 3)
        blocks += zip(broken, ("gap", "short row", "bad bytes"), strict=True)
    random_.shuffle(blocks)

    lines: list[bytes] = []
    for number, (block, fault) in enumerate(blocks, start=first):
        ninth = random_.sample(answers, 3) if split != "train" and random_.random() < 0.3 else []
        encoded = [line.encode() for line in rows(block, number, random_, ninth)]
        if fault == "gap":
            del encoded[1]
        elif fault == "short row":
            encoded[2] = b",".join(encoded[2].split(b",")[:5])
        elif fault == "bad bytes":
            encoded[2] = encoded[2].replace(b" ", b" caf\xe9 ", 1)
        lines += encoded
    if split == "train":
        lines.append(lines[0])  # one row given twice
    return b"\n".join([HEADER.encode(), *lines]) + b"\n"


def story(random_: random.Random) -> str:
    """A short paragraph in the third person."""
    words = draw(random_)
    other = random_.choice([name for name in NAMES if name != words["name"]])
    words = capitals(words | PRONOUNS[NAMES[words["name"]]] | {"other": other})
    happening = random_.choice([event for emotion in EMOTIONS.values() for event in emotion.events]).story
    sentences = random_.sample(SCENES, random_.randint(3, 6))
    # The person is named first; what happened may come later.
    sentences.sort(key=lambda sentence: "{Name}" not in sentence)
    sentences.insert(random_.randint(1, len(sentences)) if "{Name}" in sentences[0] else 0, happening)
    text = []
    for sentence in sentences:
        text.append(fill(sentence, words))
        # Other places and things in each sentence, the same people throughout.
        words |= {slot: word for slot, word in capitals(draw(random_)).items() if slot.lower() not in ("name", "kin")}
    return " ".join(text)


def chat(random_: random.Random) -> list[dict[str, str]]:
    """A short chat about everyday matters without feelings."""
    words = draw(random_)
    texts = [fill(text, words) for text in random_.choice(CHATS)][: random_.choice((2, 4))]
    return [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(texts)]


def overheard(random_: random.Random, source: Iterator[Dialogue]) -> str:
    """Single sentences of several dialogues, in no order and told as prose: the words without who answers what."""
    turns = [turn for made in islice(source, 3) for turn in made.turns]
    sentences = [sentence for turn in turns for sentence in re.findall(r"[^.?!]+[.?!]", turn)]
    told = random_.sample(sentences, min(len(sentences), random_.randint(4, 7)))
    sayings = ("{name} said: {it}", "Then {name} said: {it}", "{it} said {name}.", "{it}", "And {name}: {it}")
    return " ".join(
        random_.choice(sayings).format(name=random_.choice(list(NAMES)), it=f'"{sentence.strip()}"')
        for sentence in told
    )


def corpus(random_: random.Random) -> str:
    """Text for the base model: it learns to write and what a chat looks like, not how a good listener answers."""
    lines = []
    source = dialogues(random_)
    size = 0
    while size < CORPUS_BYTES:
        kind = random_.random()
        if kind < CHAT_SHARE:
            record: dict[str, object] = {"messages": chat(random_)}
        elif kind < CHAT_SHARE + OVERHEARD_SHARE:
            record = {"text": overheard(random_, source)}
        else:
            record = {"text": story(random_)}
        line = json.dumps(record)
        lines.append(line)
        size += len(line) + 1
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write all files into a folder."""
    raw = folder / "empathetic_dialogues"
    raw.mkdir(parents=True, exist_ok=True)
    random_ = random.Random(SEED)
    source = dialogues(random_)
    first = 0
    for split in DIALOGUES:
        (raw / f"{split}.csv").write_bytes(split_file(split, source, first, random_))
        first += 1000
    (folder / "corpus.jsonl").write_text(corpus(random.Random(SEED + 1)), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
