"""The demo property a newcomer meets first: photos drawn by our own code, nothing downloaded."""
