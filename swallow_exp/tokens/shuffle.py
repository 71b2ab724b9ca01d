"""A permutation of documents that is a pure function of (seed, count): the same for every library version, machine and run."""

from __future__ import annotations

import numpy
import numpy.typing


def shuffled_order(count: int, *, seed: int) -> numpy.typing.NDArray[numpy.int64]:
    """Numbers 0..count-1 in the order of a 64-bit mix of (seed, number); int64, shape (count,).

    The mix is the finaliser of splitmix64. NumPy's own shuffles may change between versions.
    """
    with numpy.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        start = numpy.uint64(seed % (1 << 64)) * numpy.uint64(0xD1342543DE82EF95)
        key = start + (numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key = (key ^ (key >> numpy.uint64(shift))) * numpy.uint64(factor)
        key ^= key >> numpy.uint64(31)
    return numpy.argsort(key, kind="stable").astype(numpy.int64)
