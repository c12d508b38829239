"""Price regions and the tensors between them, from profiles of a network in float, in int8 and in two mixtures."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from statistics import fmean

from titrant.runtime.mixture.allocation import Conversion, Priced, RegionPrice
from titrant.schema.values.frozen import dataclass

# A network that answers sooner is not predicted: what a call costs beside its nodes outweighs what they differ by.
SHORTEST = 100e-6
# Mixtures that are timed at most, of a network that is not predicted.
MOST_TIMED = 16
# A conversion counts for at least this share of the mean one when what they cost is spread over them.
_LEAST_WEIGHT = 0.5


@dataclass(frozen=True)
class BorderTensor:
    """A tensor that one region makes and others read."""

    producer: str
    consumers: tuple[str, ...]


@dataclass(frozen=True)
class ProfiledMix:
    """What one mixture took: the regions in int8, and the seconds of a batch without the profiler.

    `by_region` are the profiler's seconds of each region's nodes, with what converts their answers; "" is what belongs
    to none. The profiler adds to each node, so that only the shares of its seconds count.
    """

    int8: frozenset[str]
    seconds: float
    by_region: Mapping[str, float] = field(default_factory=dict)


def alternating(names: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Return two mixtures in which neighbours differ: every second region in int8, and the others."""
    return (frozenset(names[0::2]), frozenset(names[1::2])) if len(names) > 1 else ()


def price(
    names: Sequence[str],
    tensors: Sequence[BorderTensor],
    fp32: ProfiledMix,
    int8: ProfiledMix,
    mixes: Sequence[ProfiledMix],
) -> Priced:
    """Return what each region costs in either precision, and each conversion; the damages are 0.

    The profilers' seconds are brought to those of the whole network, so that what belongs to no node is spread in
    proportion. What a mixture took beyond its regions is spread over the tensors that it converts, each weighed by
    what its producer's nodes took longer than where nothing is converted. A conversion that no mixture has costs as
    much as the mean one of its direction.
    """
    shares = [profile.by_region.get("", 0.0) / _total(profile) for profile in (fp32, int8)]
    rest = fmean(share * profile.seconds for share, profile in zip(shares, (fp32, int8), strict=True))
    regions = tuple(RegionPrice(name, _scaled(fp32, name, rest), _scaled(int8, name, rest), 0.0) for name in names)
    nodes = Priced(regions, (), rest)
    prices: dict[tuple[int, bool], list[float]] = {}
    for mix in mixes:
        for place, seconds in _conversions(nodes, tensors, mix):
            prices.setdefault((place, tensors[place].producer in mix.int8), []).append(seconds)
    conversions = tuple(
        Conversion(tensor.producer, tensor.consumers, _price(prices, place, False), _price(prices, place, True))
        for place, tensor in enumerate(tensors)
    )
    return Priced(regions, conversions, rest)


def promising(priced: Priced, most: int = MOST_TIMED) -> tuple[frozenset[str], ...]:
    """Return the mixtures to time where time is not predicted: all, or those with one stretch in int8 or in float.

    The fastest by what the model says come first; all in float and all in int8 are not among them.
    """
    names = priced.names
    if 2 ** len(names) <= most:
        every = {
            frozenset(name for place, name in enumerate(names) if code >> place & 1) for code in range(2 ** len(names))
        }
    else:
        spans = {frozenset(names[begin:end]) for begin in range(len(names)) for end in range(begin + 1, len(names) + 1)}
        every = spans | {frozenset(names) - span for span in spans}
    every -= {frozenset(), frozenset(names)}
    return tuple(sorted(every, key=lambda int8: (priced.seconds(int8), sorted(int8))))[: most - 2]


def _total(profile: ProfiledMix) -> float:
    return sum(profile.by_region.values()) or 1.0


def _scaled(profile: ProfiledMix, name: str, rest: float) -> float:
    """Return a region's share of the whole network's seconds without the rest."""
    inside = _total(profile) - profile.by_region.get("", 0.0)
    return max(profile.seconds - rest, 0.0) * profile.by_region.get(name, 0.0) / (inside or 1.0)


def _conversions(nodes: Priced, tensors: Sequence[BorderTensor], mix: ProfiledMix) -> Iterator[tuple[int, float]]:
    """Yield the place of each tensor that a mixture converts, and its share of what that took beyond the regions."""
    crossing = [place for place, tensor in enumerate(tensors) if crosses(tensor, mix.int8)]
    excess = max(mix.seconds - nodes.seconds(mix.int8), 0.0)
    scale = mix.seconds / _total(mix)
    of_region = {region.name: region.int8 if region.name in mix.int8 else region.fp32 for region in nodes.regions}
    longer = [
        max(scale * mix.by_region.get(tensors[place].producer, 0.0) - of_region[tensors[place].producer], 0.0)
        for place in crossing
    ]
    if not any(longer):
        longer = [1.0] * len(crossing)
    weights = [more + _LEAST_WEIGHT * fmean(longer) for more in longer]
    for place, weight in zip(crossing, weights, strict=True):
        yield place, excess * weight / sum(weights)


def crosses(tensor: BorderTensor, int8: Collection[str]) -> bool:
    """Whether a mixture converts a tensor: whoever reads it in the other precision than it is made in."""
    return any((consumer in int8) != (tensor.producer in int8) for consumer in tensor.consumers)


def _price(prices: Mapping[tuple[int, bool], Sequence[float]], place: int, dequantized: bool) -> float:
    """Return the mean of what was seen of one conversion, of its direction, or of any."""
    alike = [seconds for (_, direction), seen in prices.items() if direction == dequantized for seconds in seen]
    every = [seconds for seen in prices.values() for seconds in seen]
    return fmean(prices.get((place, dequantized)) or alike or every or [0.0])
