from loragrid.files import write_jsonl
from loragrid.status.activity import ActiveJob
from loragrid.status.progress import answering


def test_of_choices_the_questions_are_counted(tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    write_jsonl(prompts, [{"id": str(number)} for number in range(8)])
    write_jsonl(tmp_path / "choices.jsonl", [{"of": "somebody"}])
    assert answering(tmp_path, prompts, ActiveJob()) == "running, loading"
    write_jsonl(tmp_path / "choices.jsonl", [{"of": "somebody"}, {"id": "0"}, {"id": "1"}])
    assert answering(tmp_path, prompts, ActiveJob()) == "running 2/8 questions"
