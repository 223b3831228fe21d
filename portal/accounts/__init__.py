"""Who may do what: workspaces, people, API keys, sessions, plans."""
