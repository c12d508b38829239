"""What a plan is made of and what carries it out: operators, engines, contract, store, worker, run and report."""
