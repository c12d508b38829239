raise RuntimeError("bind must not import this")


class Net: ...


def make_net(): ...
