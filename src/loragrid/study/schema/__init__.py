"""The study file, field by field: the one source of what a study may say.

`workflow/schemas/study.schema.yaml`, which editors use to complete and check studies, is generated from these models
by `loragrid schema`.
"""
