"""Rate limits: of incoming requests, and of outgoing calls to PMSs."""
