"""Requests and answers as OpenAPI documents them: a module a resource, `common` for what they share."""
