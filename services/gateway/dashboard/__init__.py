"""The dashboard: pages for people, at `/`. They call the same services as the REST routes."""
