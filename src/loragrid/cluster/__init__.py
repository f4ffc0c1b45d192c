"""Work on a cluster: what jobs ask for, how long they may run, which processes they start, how they stand."""
