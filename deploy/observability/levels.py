"""The service levels: what is promised, and the queries that measure it. Both
dashboards and alerts take them from here."""

# Share of commands that are answered otherwise than `unavailable` or
# `internal`; share of deliveries that take at most a second.
AVAILABILITY = 0.999
DELIVERY = 0.999
# Days that the error budget is for.
WINDOW = 30

COMMANDS = "switchboard_gateway_commands_total"
DELIVERIES = "switchboard_gateway_delivery_duration_seconds"

# What was wrong is not there before it happens. `le` is "1" or "1.0", as the
# version of Prometheus has it.
FAILED = COMMANDS + '{result=~"unavailable|internal"}'
IN_TIME = DELIVERIES + '_bucket{le=~"1|1.0"}'


def failed(span):
    """Share of commands that failed."""
    return f"(sum(rate({FAILED}[{span}])) or vector(0)) / sum(rate({COMMANDS}[{span}]))"


def late(span):
    """Share of deliveries that took longer than a second."""
    return f"1 - sum(rate({IN_TIME}[{span}])) / sum(rate({DELIVERIES}_count[{span}]))"


def budget_left(share, objective):
    """What is left of the error budget: 1 is all, 0 none."""
    return f"1 - ({share}) / {round(1 - objective, 6)}"
