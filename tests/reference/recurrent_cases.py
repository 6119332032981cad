"""Random models of one recurrent operator."""

from __future__ import annotations

from collections.abc import Callable

from tests.reference.cases import Case


def lstm(c: Case) -> int:
    x = c.input((1, c.below(1, 12), c.below(1, 24)), c.log_scale(-3, -1))
    clip = c.log_scale(-1, 0.3) if c.below(0, 3) == 0 else 0.0
    return c.lstm(x, c.below(1, 20), cell_exponent=-c.below(9, 16), cell_clip=clip)


def lstm_variant(c: Case) -> int:
    """Coupled gates, peepholes, a projection, layer normalisation: any of them together."""
    x = c.input((1, c.below(1, 9), c.below(1, 20)), c.log_scale(-3, -1))
    units, peephole = c.below(1, 16), c.flip()
    projection = c.below(1, units + 1 if peephole else 16) if c.flip() else 0
    return c.lstm(
        x,
        units,
        cell_exponent=-c.below(9, 16),
        cell_clip=c.log_scale(-1, 0.3) if c.below(0, 3) == 0 else 0.0,
        coupled=c.flip(),
        peephole=peephole,
        projection=projection,
        projection_bias=c.flip(),
        projection_clip=c.log_scale(-1, 0.3) if c.below(0, 3) == 0 else 0.0,
        layer_norm=c.flip(),
    )


def svdf(c: Case) -> int:
    x = c.input((1, c.below(1, 40)), c.log_scale(-3, -1))
    return c.svdf(x, c.below(1, 60), c.below(1, 4), c.below(1, 9), c.flip())


CASES: tuple[Callable[[Case], int], ...] = (lstm, lstm_variant, svdf)
