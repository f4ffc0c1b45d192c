"""The width of a SwiGLU layer, where nobody says it."""


def swiglu_width(hidden: int) -> int:
    """8/3 of the residual stream's, in whole NF4 blocks of 64 (bitsandbytes packs no others).

    With 8/3, the three matrices have as many weights as the two of a layer that is four times as wide (Shazeer 2020).
    """
    return -(-hidden * 8 // 3 // 64) * 64
