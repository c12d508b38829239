# ruff: noqa: F821
raise RuntimeError("bind must not import this")


def undeclared(cases): ...


@titrant.metric(better="lower", range=(0, 5), unit="case")
def harm(cases): ...


@titrant.metric(better="higher", range=(-1, 1), unit="case")
def correlation(cases): ...


@titrant.metric(better="higher", range=(0, 1), unit="set")
def f2(cases): ...


@titrant.metric(better="bigger", range=(0, 1), unit="set")
def misdeclared(cases): ...


@titrant.metric(better="higher", range=(1, 0), unit="set")
def turned(cases): ...


@titrant.metric(better="higher", range=(0, TOP), unit="case")
def computed(cases): ...


@titrant.metric(better="higher", range=(0, 1))
def unitless(cases): ...
