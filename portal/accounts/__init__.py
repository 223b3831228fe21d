"""Authentication and authorization: workspaces, people, API keys, sessions, plans."""
