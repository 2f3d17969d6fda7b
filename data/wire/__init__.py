"""Where actor and learner meet: the schema they agree on, the bytes of rows and of weights, and the gRPC service."""

PROTOCOL_MIN = PROTOCOL_MAX = 1  # versions of warmloop.proto that this code speaks
MIB = 1 << 20
