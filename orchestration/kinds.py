"""The kinds of models that are trained, gated and released: `<kind>` names their models in the registry."""

KINDS = ("collaborative", "clv", "churn", "next_purchase")
