"""my_policy for vlascope. Keep this file free of torch: `vlascope list` imports it."""

from vlascope.hookspecs import Register, hookimpl


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer the policy under its name."""
    register("my_policy", "vlascope_my_policy.adapter:MyPolicyAdapter", summary="a policy of mine")
