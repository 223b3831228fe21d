"""Webhooks: endpoints, events, and deliveries that are retried until they succeed."""
