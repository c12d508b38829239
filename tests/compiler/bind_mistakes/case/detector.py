raise RuntimeError("bind must not import this")


def boxes(outputs): ...


def box_loss(output, boxes): ...
