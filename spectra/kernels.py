"""All compiled code, under one jit policy: plain arrays in and out, no checks, no settings.

Two parts. *Lanes* are short vectors of float64, one entry per grid point, on which the kernels compute as on
numbers; LLVM turns them into the vector registers of the machine at hand. The *grid kernel* runs inverse
Lanczos for one grid point in each lane. Interpreted (``NUMBA_DISABLE_JIT=1``), lanes are NumPy arrays and the
same kernel runs unchanged.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, overload, register_model


def _lane_count() -> int:
    """Points per register group: with it, the 8 accumulators of a panel fill about half of the registers."""
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 4


LANES = _lane_count()
ROWS = 4  # rows of a panel: two slots of two
TILE = 64  # rows of a tile: TILE * 2 * LANES doubles stay in the first-level cache
MAX_STEPS = 250  # Lanczos steps after which a point is given back unsolved

compiled = njit(nogil=True, error_model="numpy", cache=True)

# ---------------------------------------------------------------------------------------------- lanes

if config.DISABLE_JIT:

    def load(array, i, j):
        """Lanes at row i from column j on."""
        return array[i, j : j + LANES].copy()

    def store(array, i, j, lanes):
        """Write lanes to row i from column j on."""
        array[i, j : j + LANES] = lanes

    def splat(number):
        """Lanes that all hold `number`."""
        return np.full(LANES, number)

    def root(lanes):
        """Square root, lane by lane."""
        return np.sqrt(lanes)

    def where_less(a, b, yes, no):
        """`yes` in the lanes where a < b, `no` elsewhere (also where a or b is NaN)."""
        return np.where(a < b, yes, no)

    def any_less(a, b):
        """Whether a < b in some lane."""
        return bool(np.any(a < b))

else:

    class _LanesType(types.Type):
        def __init__(self):
            super().__init__(name=f"Lanes{LANES}")

    _lanes = _LanesType()
    _vector = ir.VectorType(ir.DoubleType(), LANES)

    @register_model(_LanesType)
    class _LanesModel(models.PrimitiveModel):
        def __init__(self, manager, kind):
            super().__init__(manager, kind, _vector)

    def _address(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        row = builder.mul(args[1], builder.extract_value(array.strides, 0))
        column = builder.mul(args[2], ir.Constant(args[2].type, 8))
        start = builder.bitcast(array.data, ir.IntType(8).as_pointer())
        return builder.bitcast(builder.gep(start, [builder.add(row, column)]), _vector.as_pointer())

    def _splat(builder, number):
        undefined = ir.Constant(_vector, ir.Undefined)
        first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, undefined, zeros)

    @intrinsic
    def load(typing, array, i, j):
        """Lanes at row i from column j on."""

        def emit(context, builder, signature, args):
            return builder.load(_address(context, builder, signature, args), align=8)

        return _lanes(array, types.intp, types.intp), emit

    @intrinsic
    def store(typing, array, i, j, lanes):
        """Write lanes to row i from column j on."""

        def emit(context, builder, signature, args):
            builder.store(args[3], _address(context, builder, signature, args), align=8)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp, _lanes), emit

    @intrinsic
    def splat(typing, number):
        """Lanes that all hold `number`."""
        return _lanes(types.float64), lambda context, builder, signature, args: _splat(builder, args[0])

    @intrinsic
    def root(typing, lanes):
        """Square root, lane by lane."""

        def emit(context, builder, signature, args):
            kind = ir.FunctionType(_vector, [_vector])
            name = f"llvm.sqrt.v{LANES}f64"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

        return _lanes(_lanes), emit

    @intrinsic
    def where_less(typing, a, b, yes, no):
        """`yes` in the lanes where a < b, `no` elsewhere (also where a or b is NaN)."""

        def emit(context, builder, signature, args):
            return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

        return _lanes(_lanes, _lanes, _lanes, _lanes), emit

    @intrinsic
    def any_less(typing, a, b):
        """Whether a < b in some lane."""

        def emit(context, builder, signature, args):
            bits = builder.bitcast(builder.fcmp_ordered("<", args[0], args[1]), ir.IntType(LANES))
            return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

        return types.boolean(_lanes, _lanes), emit

    def _arithmetic(instruction, symbol):
        """Let `symbol` work on lanes, and on lanes with a number; "contract" allows fused multiply-add."""

        @intrinsic
        def emit(typing, a, b):
            kinds = [kind if kind is _lanes else types.float64 for kind in (a, b)]

            def code(context, builder, signature, args):
                x, y = (
                    v if kind is _lanes else _splat(builder, v) for v, kind in zip(args, kinds, strict=True)
                )
                return getattr(builder, instruction)(x, y, flags=["contract"])

            return _lanes(*kinds), code

        @overload(symbol)
        def operation(a, b):
            if isinstance(a, _LanesType) or isinstance(b, _LanesType):
                return lambda a, b: emit(a, b)
            return None

    _arithmetic("fadd", operator.add)
    _arithmetic("fsub", operator.sub)
    _arithmetic("fmul", operator.mul)
    _arithmetic("fdiv", operator.truediv)


# ---------------------------------------------------------------------------------------- grid kernel


@compiled
def _add_product(X, i, P, Pi, p, j0, j1):
    """X[i:i+4] += T[i:i+4, j0:j1] @ X[j0:j1] for a panel P[p] of T (imaginary part Pi, empty when real)."""
    r0, r1, r2, r3 = load(X, i, 0), load(X, i + 1, 0), load(X, i + 2, 0), load(X, i + 3, 0)
    s0, s1, s2, s3 = load(X, i, LANES), load(X, i + 1, LANES), load(X, i + 2, LANES), load(X, i + 3, LANES)
    for j in range(j0, j1):
        x, y = load(X, j, 0), load(X, j, LANES)
        r0, s0 = r0 + P[p, j, 0] * x, s0 + P[p, j, 0] * y
        r1, s1 = r1 + P[p, j, 1] * x, s1 + P[p, j, 1] * y
        r2, s2 = r2 + P[p, j, 2] * x, s2 + P[p, j, 2] * y
        r3, s3 = r3 + P[p, j, 3] * x, s3 + P[p, j, 3] * y
    if Pi.shape[0] > 0:
        for j in range(j0, j1):
            x, y = load(X, j, 0), load(X, j, LANES)
            r0, s0 = r0 - Pi[p, j, 0] * y, s0 + Pi[p, j, 0] * x
            r1, s1 = r1 - Pi[p, j, 1] * y, s1 + Pi[p, j, 1] * x
            r2, s2 = r2 - Pi[p, j, 2] * y, s2 + Pi[p, j, 2] * x
            r3, s3 = r3 - Pi[p, j, 3] * y, s3 + Pi[p, j, 3] * x
    store(X, i, 0, r0)
    store(X, i + 1, 0, r1)
    store(X, i + 2, 0, r2)
    store(X, i + 3, 0, r3)
    store(X, i, LANES, s0)
    store(X, i + 1, LANES, s1)
    store(X, i + 2, LANES, s2)
    store(X, i + 3, LANES, s3)


@compiled
def _invert_slots(zr, zi, roots, lane, inverses):
    """Reciprocal of det(zI - B) = (z - root)(z - root) for each 2 x 2 slot B, in one lane."""
    for m in range(inverses.shape[0]):
        ar, ai = zr - roots[2 * m, 0], zi - roots[2 * m, 1]
        br, bi = zr - roots[2 * m + 1, 0], zi - roots[2 * m + 1, 1]
        dr, di = ar * br - ai * bi, ar * bi + ai * br
        size = 1.0 / (dr * dr + di * di)
        inverses[m, lane] = dr * size
        inverses[m, LANES + lane] = -di * size


@compiled
def _solve_slot(X, i, slot, sign, zr, zi, inverses):
    """X[i:i+2] = (zI - B)^-1 X[i:i+2] for the slot B = [[a, b], [c, d]], or its adjoint when sign is -1."""
    m = i // 2
    if sign > 0:
        br, bi, cr, ci = slot[m, 1], slot[m, 5], slot[m, 2], slot[m, 6]
    else:
        br, bi, cr, ci = slot[m, 2], -slot[m, 6], slot[m, 1], -slot[m, 5]
    ar, ai = zr - slot[m, 0], sign * (zi - slot[m, 4])
    dr, di = zr - slot[m, 3], sign * (zi - slot[m, 7])
    fr, fi = load(inverses, m, 0), sign * load(inverses, m, LANES)
    xr, xi, yr, yi = load(X, i, 0), load(X, i, LANES), load(X, i + 1, 0), load(X, i + 1, LANES)
    ur, ui = dr * xr - di * xi + br * yr, dr * xi + di * xr + br * yi
    vr, vi = ar * yr - ai * yi + cr * xr, ar * yi + ai * yr + cr * xi
    if bi != 0.0 or ci != 0.0:
        ur, ui = ur - bi * yi, ui + bi * yr
        vr, vi = vr - ci * xi, vi + ci * xr
    xr, xi = fr * ur - fi * ui, fr * ui + fi * ur
    yr, yi = fr * vr - fi * vi, fr * vi + fi * vr
    store(X, i, 0, xr)
    store(X, i, LANES, xi)
    store(X, i + 1, 0, yr)
    store(X, i + 1, LANES, yi)
    return xr * xr + xi * xi + yr * yr + yi * yi


@compiled
def _couple_slots(X, to, source, P, Pi, p, column):
    """X[to:to+2] += T[to:to+2, source:source+2] @ X[source:source+2], both slots in one panel."""
    xr, xi, yr, yi = (
        load(X, source, 0),
        load(X, source, LANES),
        load(X, source + 1, 0),
        load(X, source + 1, LANES),
    )
    for k in range(2):
        row = to % ROWS + k
        s, t = P[p, column, row], P[p, column + 1, row]
        wr = load(X, to + k, 0) + s * xr + t * yr
        wi = load(X, to + k, LANES) + s * xi + t * yi
        if Pi.shape[0] > 0:
            s, t = Pi[p, column, row], Pi[p, column + 1, row]
            wr, wi = wr - s * xi - t * yi, wi + s * xr + t * yr
        store(X, to + k, 0, wr)
        store(X, to + k, LANES, wi)


@compiled
def _solve_adjoint(X, L, Li, slot, zr, zi, inverses):
    """X = (zI - T)^-* X by tiles from the top; L holds the panels of T*. Gives the squared norms of X."""
    n = X.shape[0]
    square = splat(0.0)
    for top in range(0, n, TILE):
        bottom = min(top + TILE, n)
        for i in range(top, bottom, ROWS):
            _add_product(X, i, L, Li, i // ROWS, top, i)
            square = square + _solve_slot(X, i, slot, -1.0, zr, zi, inverses)
            _couple_slots(X, i + 2, i, L, Li, i // ROWS, i)
            square = square + _solve_slot(X, i + 2, slot, -1.0, zr, zi, inverses)
        for i in range(bottom, n, ROWS):
            _add_product(X, i, L, Li, i // ROWS, top, bottom)
    return square


@compiled
def _solve(X, U, Ui, slot, zr, zi, inverses):
    """X = (zI - T)^-1 X by tiles from the bottom; U holds the panels of T."""
    n = X.shape[0]
    for top in range((n - 1) // TILE * TILE, -1, -TILE):
        bottom = min(top + TILE, n)
        for i in range(bottom - ROWS, top - 1, -ROWS):
            _add_product(X, i, U, Ui, i // ROWS, i + ROWS, bottom)
            _solve_slot(X, i + 2, slot, 1.0, zr, zi, inverses)
            _couple_slots(X, i, i + 2, U, Ui, i // ROWS, i + 2)
            _solve_slot(X, i, slot, 1.0, zr, zi, inverses)
        for i in range(0, top, ROWS):
            _add_product(X, i, U, Ui, i // ROWS, top, bottom)


@compiled
def _top_ritz_value(alpha, beta2, count, most, low, guess, high):
    """Largest eigenvalue of each lane's tridiagonal matrix, by Newton on its first pivot from below.

    The pivots d_j = mu - alpha_j - beta2_j / d_{j+1}, from the last row up, are positive beyond the top
    eigenvalue theta; d_1 is concave and increasing there with d_1(theta) = 0 and d_1'(theta) = 1 / s_1^2,
    where s is the unit eigenvector. [low, high] brackets theta; bisection takes over where a pivot is not
    positive or a step leaves the bracket. A lane stands still once its next step is small, so that what it
    gives does not depend on its neighbours.

    Returns
    -------
    theta, s_1^2, s_k^2 : lanes
    """
    mu, zero, tiny = guess, splat(0.0), splat(1e-300)
    for _ in range(12):
        pivot, slope, ratio, least = splat(1.0), splat(0.0), splat(1.0), splat(1.0)
        for j in range(most - 1, -1, -1):
            least = where_less(pivot, least, pivot, least)
            inverse = 1.0 / pivot
            t = load(beta2, j, 0) * inverse
            ratio = where_less(splat(j + 1.0), count, ratio * (t * inverse), ratio)
            slope = 1.0 + t * inverse * slope
            pivot = mu - load(alpha, j, 0) - t
        below = where_less(least, tiny, splat(-1.0), pivot)
        low = where_less(below, zero, mu, low)
        high = where_less(zero, below, mu, high)
        middle = 0.5 * (low + high)
        newton = where_less(least, tiny, middle, mu - pivot / slope)
        newton = where_less(newton, low * (1.0 - 1e-14), middle, newton)
        newton = where_less(high * (1.0 + 1e-14), newton, middle, newton)
        change = (newton - mu) / mu
        settled = splat(1e-18)
        if not any_less(settled, change * change):
            break
        mu = where_less(settled, change * change, newton, mu)
    first = 1.0 / slope
    return newton, first, first * ratio


@compiled
def solve_points(
    U, Ui, L, Li, slot, roots, starts, zr, zi, origin, widening, rtol, floor, stop, sigma, lower, steps
):
    """Smallest singular values of zI - T at many points z by inverse Lanczos, one point a lane.

    Parameters
    ----------
    U, Ui, L, Li : (N/4, N, 4)
        Panels of T and of T*, real and imaginary part (imaginary part (0, 0, 4) for real T); 4 divides N.
    slot : (N/2, 8)
        The 2 x 2 diagonal slots as a, b, c, d, real parts first.
    roots : (N, 2)
        Eigenvalues, slot by slot.
    starts : (s, N, 2)
        Random unit vectors; point i starts from number i + origin modulo s.
    zr, zi : (m,)
        The points; none may lie on an eigenvalue.
    origin : int
        Number of the first point among all that the caller solves.
    widening : float
        sqrt((n - 1) / delta): from a random start the largest eigenvalue exceeds the Ritz value theta by more
        than widening * abs(s_1) * residual with probability at most delta.
    rtol : float
        Stop when that interval has shrunk to the relative half-width rtol in sigma,
    floor : float
        or when sigma has sunk to this level of rounding noise (lower is 0 then).
    stop : (1,) uint8
        Set from outside to leave early.
    sigma, lower : (m,)
        Out: the value (up to rounding an upper bound of the truth) and the end of its interval; 0 where the
        solves overflow, which proves a value far below rounding noise; -1 where `MAX_STEPS` did not suffice.
    steps : (m,) int64
        Out: Lanczos steps taken.
    """
    n, points, ceiling = starts.shape[1], zr.shape[0], min(1.0 / (floor * floor), 1e300)
    Q, V, W = np.zeros((n, 2 * LANES)), np.zeros((n, 2 * LANES)), np.zeros((n, 2 * LANES))
    alpha, beta2 = np.zeros((MAX_STEPS + 1, LANES)), np.zeros((MAX_STEPS + 1, LANES))
    inverses = np.zeros((n // 2, 2 * LANES))
    # rows: z, 1 / norm of Q, beta^2, theta, s_1^2, residual^2, count, alpha, beta^2 before
    lane = np.zeros((10, LANES))
    index = np.full(LANES, -1)
    for c in range(LANES):
        lane[0, c] = 1e3
    queue, busy, most = 0, 0, 0
    while True:
        for c in range(LANES):
            if index[c] >= 0 or queue >= points:
                continue
            index[c] = queue
            lane[0, c], lane[1, c] = zr[queue], zi[queue]
            _invert_slots(zr[queue], zi[queue], roots, c, inverses)
            start = (queue + origin) % starts.shape[0]
            for i in range(n):
                Q[i, c], Q[i, LANES + c] = starts[start, i, 0], starts[start, i, 1]
                W[i, c], W[i, LANES + c] = 0.0, 0.0
            for j in range(most + 1):
                alpha[j, c], beta2[j, c] = 0.0, 0.0
            lane[2, c], lane[3, c], lane[4, c], lane[6, c], lane[7, c] = 1.0, 0.0, 0.0, 0.0, 0.0
            queue += 1
            busy += 1
        if busy == 0 or stop[0] != 0:
            return

        x, y, scale = load(lane, 0, 0), load(lane, 1, 0), load(lane, 2, 0)
        for i in range(n):
            for h in range(0, 2 * LANES, LANES):
                q = scale * load(Q, i, h)
                store(Q, i, h, q)
                store(V, i, h, q)
        a = _solve_adjoint(V, L, Li, slot, x, y, inverses)
        _solve(V, U, Ui, slot, x, y, inverses)
        b = root(load(lane, 3, 0))
        square = splat(0.0)
        for i in range(n):
            for h in range(0, 2 * LANES, LANES):
                w = load(V, i, h) - a * load(Q, i, h) - b * load(W, i, h)
                store(W, i, h, w)
                square = square + w * w
        Q, W = W, Q

        # theta can only grow, and by no more than the last residual and coupling allow
        old, coupling = load(lane, 4, 0), load(lane, 3, 0)
        middle, half = 0.5 * (old + a), 0.5 * (old - a)
        guess = middle + root(half * half + load(lane, 6, 0))
        high = middle + root(half * half + coupling)
        store(lane, 2, 0, 1.0 / root(square))
        store(lane, 3, 0, square)
        store(lane, 7, 0, load(lane, 7, 0) + 1.0)
        store(lane, 8, 0, a)
        store(lane, 9, 0, coupling)
        most = 0
        for c in range(LANES):
            if index[c] >= 0:
                k = int(lane[7, c])
                most = max(most, k)
                alpha[k - 1, c] = lane[8, c]
                if k > 1:
                    beta2[k - 2, c] = lane[9, c]
        theta, first, last = _top_ritz_value(alpha, beta2, load(lane, 7, 0), most, old, guess, high)
        residual2 = last * square
        store(lane, 4, 0, theta)
        store(lane, 5, 0, first)
        store(lane, 6, 0, residual2)

        for c in range(LANES):
            if index[c] < 0:
                continue
            theta_c, k, i = lane[4, c], int(lane[7, c]), index[c]
            excess = widening * np.sqrt(lane[5, c] * lane[6, c])
            if theta_c < ceiling and excess < 1e300:
                if excess <= 2.0 * rtol * theta_c:
                    sigma[i], lower[i] = 1.0 / np.sqrt(theta_c), 1.0 / np.sqrt(theta_c + excess)
                elif k < MAX_STEPS:
                    continue
                else:
                    sigma[i], lower[i] = -1.0, -1.0
            else:
                sigma[i], lower[i] = 1.0 / np.sqrt(theta_c) if theta_c < 1e300 else 0.0, 0.0
            steps[i] = k
            index[c] = -1
            busy -= 1
