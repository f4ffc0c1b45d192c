from workspaces import finished, finished_log, finished_once, fresh, with_data, with_model

__all__ = ["finished", "finished_log", "finished_once", "fresh", "with_data", "with_model"]
