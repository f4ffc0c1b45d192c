"""A model judges answers: raw judgements, made where the internet is, before any score is computed from them."""
