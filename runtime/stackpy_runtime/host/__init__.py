"""The long-lived processes, keeper and supervisor, their protocol and its client."""
