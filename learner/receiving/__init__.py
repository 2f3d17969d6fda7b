"""The learner's side of the connection: who may call, what comes in, and what goes out."""
