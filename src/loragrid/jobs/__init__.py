"""How work runs: the scheduler, the processes of a job, its attempts, and what is published of them."""
