"""A study asked by transformers and by vLLM, for whose server a stand-in answers: there is no CUDA here."""

import pytest
from vllm_stand_in import install, starts_of

ALL = ("-c1", "--profile", "cluster/local")

ASKED = {"decoding": {"max_new_tokens": 8}}


@pytest.mark.slow
def test_an_evaluation_by_vllm_stands_beside_that_by_transformers(finished, tmp_path):
    before = finished.table()
    finished.study("nano", evaluations={"test": ASKED, "served": ASKED | {"backend": "vllm"}})
    checked = finished.loragrid("check", "nano")
    warning = "Warning: `backend: vllm` needs vLLM, in an environment of its own, on "
    assert warning in checked.stderr
    failed = finished.snakemake(*ALL, own={"LORAGRID_VLLM": "/nowhere/vllm"}, fails=True)
    assert warning in failed.stderr
    assert "pip install -r envs/vllm.txt" in failed.stdout + failed.stderr + finished.last_logs()
    assert not list(finished.folder.glob("results/*/**/eval/served-*/work/failed.json"))
    finished.snakemake(*ALL, own={"LORAGRID_VLLM": str(install(tmp_path / "vllm-env"))})
    # One for both runs; the untrained model does not wait for what is looked at for them.
    adapters = [sum("adapter-" in argument for argument in start["argv"]) for start in starts_of(tmp_path / "vllm-env")]
    assert sorted(adapters) == [0, 2]
    rows = finished.table()
    assert {row["backend"] for row in rows if row["evaluation"] == "served"} == {"vllm"}
    for evaluation in ("test", "served"):
        scored = [row for row in rows if row["evaluation"] == evaluation]
        assert {row["status"] for row in scored} == {"done"}
        # The stand-in answers as transformers does, so nothing else differs.
        for row, expected in zip(scored, before, strict=True):
            for name in ("run", "rougeL", "sacrebleu", "bits_per_byte", "bits_per_byte_gain"):
                assert row[name] == expected[name]
