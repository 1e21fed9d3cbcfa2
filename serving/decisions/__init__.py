"""Pure decisions: values in, values out. No HTTP, no store, no clock, no environment."""
