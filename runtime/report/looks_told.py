"""How often the evaluation rows were looked at, in words."""


def looks_told(looks: int) -> str:
    """Say which look at its evaluation rows a run was; "" where that is not known."""
    if not looks:
        return ""
    if looks == 1:
        return "No other models had been judged on these evaluation rows in this home before."
    return (
        f"Look number {looks} at these evaluation rows in this home: other models were judged on them before. The more "
        "often something is changed after such a look, the less a pass on these rows proves; fresh rows prove it anew."
    )
