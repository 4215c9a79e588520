"""What PyYAML passes over: a key that stands twice in one mapping, of which it keeps the last."""

import yaml


def said_twice(root: yaml.Node | None) -> yaml.ScalarNode | None:
    """The first key, in the order of the text, that its mapping has already; None if there is none.

    Args:
        root: what `yaml.compose` answers. An alias is the node that it stands for, looked at once.
    """
    known = set[int]()
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if id(node) in known:
            continue
        known.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen = set[str]()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    return key
                seen.add(str(key.value))
            waiting += reversed([value for _, value in node.value])
    return None
