from workspaces import finished, finished_log, finished_once, fresh, small_studies, with_data, with_model

__all__ = ["finished", "finished_log", "finished_once", "fresh", "small_studies", "with_data", "with_model"]
