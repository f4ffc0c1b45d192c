"""CMMLU (Li et al. 2023): multiple choice questions in Chinese, 67 subjects.

`dev/<subject>.csv` (five questions each, the examples of few-shot prompts) and `test/<subject>.csv`, with the columns
`Question, A, B, C, D, Answer` after an unnamed number. What is dev there is validation here.
"""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.layouts import Unusable, record
from loragrid.data.records import ChoiceQuestion, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size
from loragrid.data.tables import data_files, rows
from loragrid.data.wording import Wording
from loragrid.errors import UserError, shortened
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "CC BY-NC-SA 4.0"
HOMEPAGE = "https://github.com/haonan-li/CMMLU"
REMOTE = Remote(hub=HubDataset(id="haonan-li/cmmlu", files=["*.zip", "*.csv"]))
SIZE = Size(rows={"validation": 335, "test": 11_582}, tokens=90)
KIND = ChoiceQuestion
STEPS: list[Choice] = ["unicode", {"whitespace": {"within": "single"}}]
FORMAT = None
FACETS = ("subject",)

Options = NoOptions

COLUMNS = ("Question", "A", "B", "C", "D", "Answer")

CATEGORIES = {
    "stem": [
        "anatomy", "astronomy", "college_actuarial_science", "college_engineering_hydrology",
        "college_mathematics", "college_medical_statistics", "computer_science", "conceptual_physics",
        "electrical_engineering", "elementary_mathematics", "genetics", "high_school_biology",
        "high_school_chemistry", "high_school_mathematics", "high_school_physics", "machine_learning",
        "virology",
    ],
    "humanities": [
        "arts", "chinese_history", "chinese_literature", "college_law", "global_facts", "international_law",
        "jurisprudence", "logical", "marxist_theory", "philosophy", "professional_law", "world_history",
        "world_religions",
    ],
    "social_science": [
        "ancient_chinese", "business_ethics", "chinese_civil_service_exam", "chinese_food_culture",
        "chinese_foreign_policy", "chinese_teacher_qualification", "college_education", "economics",
        "education", "elementary_chinese", "ethnology", "high_school_geography", "high_school_politics",
        "journalism", "management", "marketing", "modern_chinese", "professional_accounting",
        "professional_psychology", "public_relations", "security_study", "sociology",
    ],
    "other": [
        "agronomy", "chinese_driving_rule", "clinical_knowledge", "college_medicine", "computer_security",
        "construction_project_management", "elementary_commonsense", "elementary_information_and_technology",
        "food_science", "human_sexuality", "legal_and_moral_basis", "nutrition", "professional_medicine",
        "sports_science", "traditional_chinese_medicine",
    ],
    "china": [
        "ancient_chinese", "chinese_civil_service_exam", "chinese_driving_rule", "chinese_food_culture",
        "chinese_foreign_policy", "chinese_history", "chinese_literature", "chinese_teacher_qualification",
        "construction_project_management", "elementary_chinese", "elementary_commonsense", "ethnology",
        "high_school_politics", "modern_chinese", "traditional_chinese_medicine",
    ],
}  # fmt: skip
"""Subjects by category, as the authors have them (src/categories.py in their repository): the first four divide all 67
among them, and those specific to China are in one of these, too."""

SUBJECTS = {
    "agronomy": "农学", "anatomy": "解剖学", "ancient_chinese": "古汉语", "arts": "艺术学",
    "astronomy": "天文学", "business_ethics": "商业伦理",
    "chinese_civil_service_exam": "中国公务员考试", "chinese_driving_rule": "中国驾驶规则",
    "chinese_food_culture": "中国饮食文化", "chinese_foreign_policy": "中国外交政策",
    "chinese_history": "中国历史", "chinese_literature": "中国文学",
    "chinese_teacher_qualification": "中国教师资格", "clinical_knowledge": "临床知识",
    "college_actuarial_science": "大学精算学", "college_education": "大学教育学",
    "college_engineering_hydrology": "大学工程水文学", "college_law": "大学法律",
    "college_mathematics": "大学数学", "college_medical_statistics": "大学医学统计",
    "college_medicine": "大学医学", "computer_science": "计算机科学",
    "computer_security": "计算机安全", "conceptual_physics": "概念物理学",
    "construction_project_management": "建设工程管理", "economics": "经济学",
    "education": "教育学", "electrical_engineering": "电气工程",
    "elementary_chinese": "小学语文", "elementary_commonsense": "小学常识",
    "elementary_information_and_technology": "小学信息技术",
    "elementary_mathematics": "初等数学", "ethnology": "民族学", "food_science": "食品科学",
    "genetics": "遗传学", "global_facts": "全球事实", "high_school_biology": "高中生物",
    "high_school_chemistry": "高中化学", "high_school_geography": "高中地理",
    "high_school_mathematics": "高中数学", "high_school_physics": "高中物理学",
    "high_school_politics": "高中政治", "human_sexuality": "人类性行为",
    "international_law": "国际法学", "journalism": "新闻学", "jurisprudence": "法理学",
    "legal_and_moral_basis": "法律与道德基础", "logical": "逻辑学",
    "machine_learning": "机器学习", "management": "管理学", "marketing": "市场营销",
    "marxist_theory": "马克思主义理论", "modern_chinese": "现代汉语", "nutrition": "营养学",
    "philosophy": "哲学", "professional_accounting": "专业会计",
    "professional_law": "专业法学", "professional_medicine": "专业医学",
    "professional_psychology": "专业心理学", "public_relations": "公共关系",
    "security_study": "安全研究", "sociology": "社会学", "sports_science": "体育学",
    "traditional_chinese_medicine": "中医中药", "virology": "病毒学",
    "world_history": "世界历史", "world_religions": "世界宗教",
}  # fmt: skip
"""Subjects in Chinese, from the same file."""

WORDING = Wording(
    about="以下是关于{subject}的单项选择题，请直接给出正确答案的选项。\n\n",
    without_subject="以下是单项选择题，请直接给出正确答案的选项。\n\n",
    answer="答案：",
    subjects=SUBJECTS,
)
"""As lm-evaluation-harness 0.4.13 asks (lm_eval/tasks/cmmlu)."""


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """Read the files of all subjects.

    Args:
        folder: holds `dev` and `test`, at any depth.
        options: none.
        drops: counts rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there are no such files, or one has other columns.
    """
    for split, path in data_files(folder, (".csv",)):
        for where, row in rows(path, path.relative_to(folder).as_posix(), split, drops):
            if missing := [column for column in COLUMNS if column not in row]:
                found = shortened(", ".join(row))
                raise UserError(f"{path}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)}; found {found}")
            fields = {
                **row,
                "question": row["Question"],
                "answer": row["Answer"].strip(),
                "id": f"{path.stem}:{row.get('', where)}",
            }
            # A question whose right choice is itself a letter must not be taken for that letter's place.
            if fields["answer"] not in ("A", "B", "C", "D"):
                drops.add("the answer is none of the choices", where=where, split=split)
                continue
            try:
                yield (
                    split,
                    record(
                        "choice", {**fields, "answer": "ABCD".index(fields["answer"])}, where, {"subject": path.stem}
                    ),
                )
            except Unusable as problem:
                drops.add(str(problem), where=where, split=split)
