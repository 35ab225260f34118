def apply(expected, case, template):
    return []
