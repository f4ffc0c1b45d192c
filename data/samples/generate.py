"""Make small files in the original formats of the studies' datasets, for the small variants of the studies.

Everything is put together from phrases with a fixed seed, so that the files come out the same, byte for byte:

    python data/samples/generate.py [folder]
"""

import csv
import json
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "demo"))

from generate import Dialogue, dialogues  # noqa: E402 – the demo's, which lies beside

SEED = 70
STRATEGIES = ("Question", "Reflection of feelings", "Affirmation and Reassurance", "Providing Suggestions", "Others")
SCENES = ("Loss of a pet", "Stress at work", "An exam", "A quarrel in the family", "Moving house")

# Customer service: what broke, what was tried, what the agent does.
COMPANIES = ("AcmePhone", "NorthRail", "BlueBank", "QuickParcel")
PROBLEMS = {
    "my {thing} has stopped working since {when}": "The {thing} of a customer stopped working",
    "I was charged twice for my {thing}": "A customer was charged twice for a {thing}",
    "the {thing} I ordered never arrived": "A customer is waiting for a {thing}",
    "your app crashes whenever I look at my {thing}": "The app crashes when a customer looks at a {thing}",
}
THINGS = ("watch", "ticket", "phone", "camera", "lamp", "router", "keyboard", "suitcase", "season ticket", "headset")
WHENS = ("Monday", "the last update", "this morning", "two weeks ago", "the storm")
HELP = {
    "Please send us a DM with your number and we will look into it.": "the agent asks for a direct message.",
    "Have you tried to switch it off and on again?": "the agent asks whether it was switched off and on again.",
    "We are sorry! A refund is on its way.": "the agent promises a refund.",
    "Our team works on it, please try again in an hour.": "the agent asks to try again in an hour.",
}
SIGNATURES = (" ^SH", ".^In", " ^Clarissa", " ^MK")

# Chinese instructions: a kind, what is asked, what is answered.
FLOWERS = {"桃花": "春天", "荷花": "夏天", "菊花": "秋天", "梅花": "冬天", "杏花": "春天", "桂花": "秋天"}
CITIES = {
    "北京": "中国北方",
    "广州": "中国南方",
    "上海": "中国东部",
    "成都": "中国西部",
    "西安": "中国西部",
    "杭州": "中国东部",
}
COLOURS = ("红", "黄", "蓝", "绿", "白", "黑")
CHINESE: dict[str, tuple[str, str]] = {
    "Cot": ("请问{flower}在什么季节开放？请写一句话。", "{flower}通常在{season}开放，颜色常见的是{colour}色。"),
    "Dictionary": ("请介绍一下{city}在哪里。", "{city}位于{place}，是一座有名的城市。"),
    "Couplet": ("请用“{colour}”字写一句关于{flower}的话。", "{season}里，{colour}色的{flower}开了。"),
    "MRC": ("小明{season}去了{city}，他看见了{flower}。他去了哪里？", "他去了{city}。"),
}

QUESTIONS: list[tuple[str, list[str], list[str]]] = [
    ("writing", ["请写一句话介绍杭州。", "请把它改成一个问题。"], []),
    ("roleplay", ["你是一位花匠，请说说梅花。", "那么桃花呢？"], []),
    ("math", ["三加四等于几？", "再乘以二呢？"], ["三加四等于七。", "七乘以二等于十四。"]),
    ("reasoning", ["小明在西安，小红在成都。谁在成都？", "那么谁在西安？"], ["小红在成都。", "小明在西安。"]),
]
"""Category, two turns, and answers where one is right and others are not."""

# Turkish instructions.
CITIES_TR = {
    "Ankara": "İç Anadolu", "İzmir": "Ege", "Antalya": "Akdeniz", "Trabzon": "Karadeniz", "Edirne": "Marmara",
    "Van": "Doğu Anadolu",
}  # fmt: skip
FRUITS_TR = {
    "elma": "kırmızı",
    "muz": "sarı",
    "üzüm": "mor",
    "portakal": "turuncu",
    "kivi": "yeşil",
    "çilek": "kırmızı",
}
DAYS_TR = ("pazartesi", "salı", "çarşamba", "perşembe", "cuma", "cumartesi")
TURKISH = {
    "{city} hangi bölgededir?": "{city}, {region} Bölgesi'ndedir.",
    "{fruit} ne renktir?": "{fruit} genellikle {colour} renktedir.",
    "{day} günü {city} için kısa bir plan yaz.": "{day} günü {city} sokaklarında yürür, sonra {fruit} yerim.",
    "Bir cümlede hem {fruit} hem {city} geçsin.": "{city} pazarında taze {fruit} sattılar.",
}


def extes(source: Iterator[Dialogue], random_: random.Random) -> list[dict[str, Any]]:
    """Dialogues of ExTES: a few begin with the AI, repeat a role, or have what the AI says in an object."""
    made = []
    for number, dialogue in enumerate(islice(source, 60)):
        content: list[dict[str, Any]] = [{"AI": "Hello, how are you today?"}] if number % 11 == 5 else []
        for index, text in enumerate(dialogue.turns):
            if index % 2 == 0:
                content.append({"User": text})
                continue
            said: Any = {"Response": text} if number % 13 == 4 else text
            content.append({"AI Strategy": random_.choice(STRATEGIES) if number % 7 else "", "AI": said})
        if number % 17 == 3:
            content.append({"User": "Thank you."})
        made.append({"scene": random_.choice(SCENES), "description": dialogue.situation, "content": content})
    return made


def esconv(source: Iterator[Dialogue], random_: random.Random) -> list[dict[str, Any]]:
    """Dialogues of ESConv: either side may send several messages in a row, each with a line break at its end."""
    made = []
    for dialogue in islice(source, 40):
        turns: list[dict[str, Any]] = [{"speaker": "seeker", "annotation": {}, "content": "Hello\n"}]
        for index, text in enumerate(dialogue.turns):
            annotation: dict[str, str] = {"strategy": random_.choice(STRATEGIES)} if index % 2 else {}
            parts = text.split(". ", 1) if random_.random() < 0.3 else [text]
            for part in parts:
                turns.append(
                    {"speaker": ("seeker", "supporter")[index % 2], "annotation": annotation, "content": f"{part}\n"}
                )
        made.append(
            {
                "experience_type": "Previous Experience",
                "emotion_type": dialogue.emotion,
                "problem_type": random_.choice(SCENES).lower(),
                "situation": dialogue.situation,
                "survey_score": {
                    "seeker": {"initial_emotion_intensity": "4", "empathy": "5", "relevance": "5",
                               "final_emotion_intensity": "2"},
                    "supporter": {"relevance": "5"},
                },
                "dialog": turns,
                "seeker_question1": "", "seeker_question2": "", "supporter_question1": "", "supporter_question2": "",
            }
        )  # fmt: skip
    return made


def kaggle(source: Iterator[Dialogue], random_: random.Random) -> list[list[str]]:
    """Rows of Kaggle's form of EmpatheticDialogues: a question and an answer each, with columns of junk."""
    table = [["", "Situation", "emotion", "empathetic_dialogues", "labels", "Unnamed: 5", "Unnamed: 6"]]
    for dialogue in islice((each for each in source if len(each.turns) > 1), 70):
        for asked, answer in zip(dialogue.turns[::2], dialogue.turns[1::2], strict=False):
            question = f"Customer :{asked}\nAgent :"
            table.append([str(len(table)), dialogue.situation, dialogue.emotion, question, answer, "", ""])
    misplaced = table[len(table) // 2]
    misplaced[2], misplaced[3] = misplaced[3], misplaced[2]
    return table


def tweetsumm(random_: random.Random) -> dict[str, Any]:
    """Dialogues of TweetSumm as DialogStudio has them, with the noise of tweets."""
    made: dict[str, Any] = {}
    seen = set()
    while len(made) < 36:
        problem, summary = random_.choice(list(PROBLEMS.items()))
        words = {"thing": random_.choice(THINGS), "when": random_.choice(WHENS)}
        company, (help_, done) = random_.choice(COMPANIES), random_.choice(list(HELP.items()))
        asked = f"@{company} Hi, {problem.format_map(words)}! Can you help? https://t.co/{random_.randrange(10**8):08d}"
        if (problem, words["thing"]) in seen:
            continue
        seen.add((problem, words["thing"]))
        user = random_.randrange(100000, 999999)
        answer = f"@{user} Thank you for telling us &amp; sorry for the trouble. {help_}{random_.choice(SIGNATURES)}"
        number = len(made) + 1
        turns = [{"turn id": 1, "user utterance": asked, "system response": answer, "dialog history": ""}]
        if random_.random() < 0.5:
            thanks = {"user utterance": f"@{company} Thanks 🙏", "system response": f"@{user} You are welcome!"}
            turns.append({"turn id": 2, **thanks, "dialog history": ""})
        abstract = [f"{summary.format_map(words)}.", f"To help, {done}"]
        made[f"TweetSumm--train--{number}"] = {
            "original dialog id": f"{random_.randrange(16**8):08x}",
            "dialog index": number,
            "original dialog info": {"summaries": {"extractive_summaries": [], "abstractive_summaries": [abstract]}},
            "log": turns,
            "prompt": [],
        }
    return made


def human_like_dpo(source: Iterator[Dialogue]) -> list[dict[str, str]]:
    """Preference pairs: the listener's answer, and one that could come from an office."""
    pairs = islice((each for each in source if len(each.turns) > 1), 60)
    formal = "Your message about the subject '{emotion}' has been received. No further action is required."
    return [
        {"prompt": each.turns[0], "chosen": each.turns[1], "rejected": formal.format(emotion=each.emotion)}
        for each in pairs
    ]


def chinese(random_: random.Random) -> dict[str, str]:
    """Words for the Chinese phrases."""
    flower, city = random_.choice(list(FLOWERS)), random_.choice(list(CITIES))
    colour = random_.choice(COLOURS)
    return {"flower": flower, "season": FLOWERS[flower], "city": city, "place": CITIES[city], "colour": colour}


def firefly(random_: random.Random) -> list[dict[str, str]]:
    """Chinese instructions, no two of which ask the same; four ask what an evaluation asks, too."""
    made: dict[str, dict[str, str]] = {}
    while len(made) < 76:
        kind, (asked, answer) = random_.choice(list(CHINESE.items()))
        words = chinese(random_)
        made[asked.format_map(words)] = {
            "kind": kind, "input": asked.format_map(words), "target": answer.format_map(words),
        }  # fmt: skip
    given_away = (("梅花", "季节"), ("桂花", "季节"), ("上海", "地区"), ("西安", "地区"))
    return [
        *made.values(),
        *(
            {"kind": "MRC", "input": question(name, what)[0], "target": (FLOWERS | CITIES)[name]}
            for name, what in given_away
        ),
    ]


def question(name: str, what: str) -> tuple[str, list[str], str]:
    """A question of CMMLU: its text, four choices, and the letter of the right one."""
    known = FLOWERS if what == "季节" else CITIES
    wrong = sorted(set(known.values()) - {known[name]})
    choices = sorted([known[name], *wrong])[:4]
    return f"{name}与下列哪一个{what}的关系最为密切？", choices, "ABCD"[choices.index(known[name])]


def cmmlu() -> Iterator[tuple[str, list[list[str]]]]:
    """The files of two of its subjects: two questions as examples, the others as the test."""
    for subject, what, known in (("agronomy", "季节", FLOWERS), ("high_school_geography", "地区", CITIES)):
        table = []
        for number, name in enumerate(known):
            asked, choices, letter = question(name, what)
            table.append([str(number), asked, *choices, letter])
        header = ["", "Question", "A", "B", "C", "D", "Answer"]
        yield f"dev/{subject}.csv", [header, *table[:2]]
        yield f"test/{subject}.csv", [header, *([str(n), *row[1:]] for n, row in enumerate(table[2:]))]


def questions() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """MT-Bench's questions of two turns in Chinese, and answers to some of them."""
    asked, answers = [], []
    for number, (category, turns, replies) in enumerate(QUESTIONS, start=81):
        asked.append({"question_id": number, "category": category, "turns": turns})
        if replies:
            choices = [{"index": 0, "turns": replies}]
            answers.append(
                {"question_id": number, "answer_id": f"{number:04x}", "model-id": "none", "choices": choices}
            )
    return asked, answers


def turkish(random_: random.Random, number: int) -> list[tuple[str, str]]:
    """Turkish instructions and answers, no two of which ask the same."""
    made: dict[str, str] = {}
    while len(made) < number:
        city, fruit = random_.choice(list(CITIES_TR)), random_.choice(list(FRUITS_TR))
        words = {"city": city, "region": CITIES_TR[city], "fruit": fruit, "colour": FRUITS_TR[fruit]}
        words["day"] = random_.choice(DAYS_TR)
        asked, answer = random_.choice(list(TURKISH.items()))
        made[asked.format_map(words)] = answer.format_map(words)
    return list(made.items())


def write_json(file: Path, value: Any) -> None:
    """Write one JSON value."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")


def write_lines(file: Path, values: list[Any]) -> None:
    """Write JSON Lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    file.write_text(text, encoding="utf-8", newline="\n")


def write_table(file: Path, table: list[list[str]]) -> None:
    """Write a CSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(table)


def main(folder: Path) -> None:
    """Write all files into a folder."""
    random_ = random.Random(SEED)
    source = dialogues(random_)
    write_json(folder / "extes/ExTES.json", extes(source, random_))
    write_json(folder / "esconv/ESConv.json", esconv(source, random_))
    write_table(folder / "kaggle/emotion-emotion_69k.csv", kaggle(source, random_))
    write_json(folder / "tweetsumm/TweetSumm.json", tweetsumm(random_))
    write_json(folder / "human_like_dpo/data.json", human_like_dpo(source))
    write_lines(folder / "firefly/firefly-train-1.1M.jsonl", firefly(random_))
    for name, table in cmmlu():
        write_table(folder / "cmmlu" / name, table)
    asked, answers = questions()
    write_lines(folder / "mt_bench_zh/question.jsonl", asked)
    write_lines(folder / "mt_bench_zh/reference_answer/answers.jsonl", answers)
    instructions = turkish(random_, 80)
    aya = [
        {"inputs": asked, "targets": answer, "language": "Turkish", "language_code": "tur",
         "annotation_type": "original-annotations", "user_id": f"{number:08x}"}
        for number, (asked, answer) in enumerate(instructions[:40])
    ]  # fmt: skip
    write_lines(folder / "aya_turkish/train.jsonl", aya)
    table = [["", "talimat", " giriş", " çıktı"]]
    table += [[str(number), asked, "", answer] for number, (asked, answer) in enumerate(instructions[40:])]
    write_table(folder / "turkish_instructions/instructions.csv", table)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
