"""Rows of a batch in one sequence."""

import pytest
import torch
from architectures import config_of
from transformers import AutoModelForCausalLM

from loragrid.modeling.attention import KEEP_ROWS_APART, flash_attention


@pytest.mark.parametrize("family", sorted(KEEP_ROWS_APART))
def test_a_row_does_not_see_the_one_before_it_without_flash_attention(family):
    torch.manual_seed(0)
    attention = "eager" if family == "gemma2" else "sdpa"  # by torch's it could not cap its scores
    model = AutoModelForCausalLM.from_config(config_of(family), attn_implementation=attention).eval()
    first, other, row = torch.randint(3, 300, (3, 40))
    with torch.inference_mode():
        alone = model(input_ids=row[None], use_cache=False).logits[0]
        position = torch.arange(40).repeat(2)[None]
        after = [
            model(input_ids=torch.cat([before, row])[None], position_ids=position, use_cache=False).logits[0, 40:]
            for before in (first, other)
        ]
    assert torch.equal(*after)
    torch.testing.assert_close(after[0], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU only")
def test_without_a_gpu_there_is_none(tmp_path):
    assert flash_attention(str(tmp_path)) is None
