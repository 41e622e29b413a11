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
    """Points per register group: the 8 accumulators of a panel then fill half of the vector registers."""
    features = (config.CPU_FEATURES or "") if config.CPU_NAME else binding.get_host_cpu_features().flatten()
    return 16 if "+avx512f" in features else 4


LANES = _lane_count()
ROWS = 4  # rows of a panel: two slots of two
CAUTION = 8.0  # how many times less than usual a start may meet the top eigenvector, and yet find it in time
MAX_STEPS = 1000  # Lanczos steps after which a point is given back unsolved

compiled = njit(nogil=True, error_model="numpy", cache=True)
inlined = njit(nogil=True, error_model="numpy", cache=True, forceinline=True)  # inner steps, on registers

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


@inlined
def _panel(X, i):
    """Four rows of X: four real parts, then four imaginary parts."""
    r0, r1, r2, r3 = load(X, i, 0), load(X, i + 1, 0), load(X, i + 2, 0), load(X, i + 3, 0)
    s0, s1, s2, s3 = load(X, i, LANES), load(X, i + 1, LANES), load(X, i + 2, LANES), load(X, i + 3, LANES)
    return r0, r1, r2, r3, s0, s1, s2, s3


@inlined
def _store_panel(X, i, r0, r1, r2, r3, s0, s1, s2, s3):
    """Write four rows of X."""
    store(X, i, 0, r0)
    store(X, i + 1, 0, r1)
    store(X, i + 2, 0, r2)
    store(X, i + 3, 0, r3)
    store(X, i, LANES, s0)
    store(X, i + 1, LANES, s1)
    store(X, i + 2, LANES, s2)
    store(X, i + 3, LANES, s3)


@inlined
def _plus_product(r0, r1, r2, r3, s0, s1, s2, s3, X, P, Pi, p, j0, j1):
    """Four rows plus T[4p:4p+4, j0:j1] @ X[j0:j1]."""
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
    return r0, r1, r2, r3, s0, s1, s2, s3


@compiled
def _invert_slots(zr, zi, roots, lane, inverses):
    """Write 1 / det(zI - B) of each slot B, by its two roots, to a lane; give the least abs(z - root)^2."""
    nearest = np.inf
    for m in range(inverses.shape[0]):
        ar, ai = zr - roots[2 * m, 0], zi - roots[2 * m, 1]
        br, bi = zr - roots[2 * m + 1, 0], zi - roots[2 * m + 1, 1]
        nearest = min(nearest, ar * ar + ai * ai, br * br + bi * bi)
        dr, di = ar * br - ai * bi, ar * bi + ai * br
        size = 1.0 / (dr * dr + di * di)
        inverses[m, lane] = dr * size
        inverses[m, LANES + lane] = -di * size
    return nearest


@inlined
def _slot_solution(xr, yr, xi, yi, m, slot, sign, zr, zi, inverses):
    """(zI - B)^-1 (x, y) for the slot B = [[a, b], [c, d]] number m, or its adjoint when sign is -1."""
    if sign > 0:
        br, bi, cr, ci = slot[m, 1], slot[m, 5], slot[m, 2], slot[m, 6]
    else:
        br, bi, cr, ci = slot[m, 2], -slot[m, 6], slot[m, 1], -slot[m, 5]
    ar, ai = zr - slot[m, 0], sign * (zi - slot[m, 4])
    dr, di = zr - slot[m, 3], sign * (zi - slot[m, 7])
    fr, fi = load(inverses, m, 0), sign * load(inverses, m, LANES)
    ur, ui = dr * xr - di * xi + br * yr, dr * xi + di * xr + br * yi
    vr, vi = ar * yr - ai * yi + cr * xr, ar * yi + ai * yr + cr * xi
    if bi != 0.0 or ci != 0.0:
        ur, ui = ur - bi * yi, ui + bi * yr
        vr, vi = vr - ci * xi, vi + ci * xr
    return fr * ur - fi * ui, fr * vr - fi * vi, fr * ui + fi * ur, fr * vi + fi * vr


@inlined
def _coupled(ur, vr, ui, vi, xr, yr, xi, yi, P, Pi, p, row, column):
    """(u, v) + T[row:row+2, column:column+2] (x, y) within panel p."""
    for k in range(2):
        s, t = P[p, column, row + k], P[p, column + 1, row + k]
        wr, wi = s * xr + t * yr, s * xi + t * yi
        if Pi.shape[0] > 0:
            s, t = Pi[p, column, row + k], Pi[p, column + 1, row + k]
            wr, wi = wr - s * xi - t * yi, wi + s * xr + t * yr
        if k == 0:
            ur, ui = ur + wr, ui + wi
        else:
            vr, vi = vr + wr, vi + wi
    return ur, vr, ui, vi


@compiled
def _solve_adjoint(V, Q, new, scale, L, Li, slot, zr, zi, inverses):
    """V = (zI - T)^-* q for q = scale * Q[new:], given the panels L of T*. The squared norms of V."""
    square = splat(0.0)
    for i in range(0, V.shape[0], ROWS):
        p = i // ROWS
        r0, r1, r2, r3, s0, s1, s2, s3 = _panel(Q, new + i)
        r0, r1, r2, r3 = scale * r0, scale * r1, scale * r2, scale * r3
        s0, s1, s2, s3 = scale * s0, scale * s1, scale * s2, scale * s3
        r0, r1, r2, r3, s0, s1, s2, s3 = _plus_product(r0, r1, r2, r3, s0, s1, s2, s3, V, L, Li, p, 0, i)
        r0, r1, s0, s1 = _slot_solution(r0, r1, s0, s1, 2 * p, slot, -1.0, zr, zi, inverses)
        r2, r3, s2, s3 = _coupled(r2, r3, s2, s3, r0, r1, s0, s1, L, Li, p, 2, i)
        r2, r3, s2, s3 = _slot_solution(r2, r3, s2, s3, 2 * p + 1, slot, -1.0, zr, zi, inverses)
        square = square + (r0 * r0 + s0 * s0 + r1 * r1 + s1 * s1)
        square = square + (r2 * r2 + s2 * s2 + r3 * r3 + s3 * s3)
        _store_panel(V, i, r0, r1, r2, r3, s0, s1, s2, s3)
    return square


@compiled
def _solve(V, Q, new, old, a, b, U, Ui, slot, zr, zi, inverses):
    """V = (zI - T)^-1 V, given the panels U of T; then Q[old:] = V - a Q[new:] - b Q[old:]."""
    n = V.shape[0]
    square = splat(0.0)
    for i in range(n - ROWS, -1, -ROWS):
        p = i // ROWS
        r0, r1, r2, r3, s0, s1, s2, s3 = _panel(V, i)
        r0, r1, r2, r3, s0, s1, s2, s3 = _plus_product(
            r0, r1, r2, r3, s0, s1, s2, s3, V, U, Ui, p, i + ROWS, n
        )
        r2, r3, s2, s3 = _slot_solution(r2, r3, s2, s3, 2 * p + 1, slot, 1.0, zr, zi, inverses)
        r0, r1, s0, s1 = _coupled(r0, r1, s0, s1, r2, r3, s2, s3, U, Ui, p, 0, i + 2)
        r0, r1, s0, s1 = _slot_solution(r0, r1, s0, s1, 2 * p, slot, 1.0, zr, zi, inverses)
        _store_panel(V, i, r0, r1, r2, r3, s0, s1, s2, s3)
        for k in range(i, i + ROWS):
            for h in range(0, 2 * LANES, LANES):
                w = load(V, k, h) - a * load(Q, new + k, h) - b * load(Q, old + k, h)
                store(Q, old + k, h, w)
                square = square + w * w
    return square


@compiled
def _top_ritz_value(alpha, beta, at, count, most, high):
    """Largest eigenvalue theta of each tridiagonal matrix in the lanes from column `at` on, by Laguerre.

    With a_j = c (mu - alpha_j) and b_j = c beta_j, the characteristic polynomial is p_1 of the recurrence
    p_j = a_j p_{j+1} - b_j^2 p_{j+2} from the last row up; q is its first, r half its second derivative. All
    zeros being real, a Laguerre step from above never passes theta, and theta lies within k p / q of mu. At
    theta the unit eigenvector s has s_1^2 = c p_2 / q, and s_k / s_1 is the product of the b_j over p_2. A
    lane stands still once a Newton step leads to theta to rounding, so that what it gives does not depend on
    its neighbours.

    Returns
    -------
    theta, s_1^2, s_k^2 : lanes
    """
    mu, zero, one, tiny2, huge = high, splat(0.0), splat(1.0), splat(1e-200), splat(1e100)
    c = 2.0 / high
    for _ in range(100):
        p, q, r, product = one, zero, zero, one
        p_below, q_below, r_below = zero, zero, zero
        for j in range(most - 1, -1, -1):
            row = splat(float(j))
            a, b = c * (mu - load(alpha, j, at)), c * load(beta, j, at)
            product = where_less(row + 1.0, count, product * b, product)
            b = b * b
            r, r_below = where_less(row, count, c * q + a * r - b * r_below, zero), r
            q, q_below = where_less(row, count, c * p + a * q - b * q_below, zero), q
            p, p_below = where_less(row, count, a * p - b * p_below, one), p
            if j % 8 == 1:
                factor = where_less(p * p, tiny2, huge, one)  # p can be negative by rounding
                p, q, r, product = factor * p, factor * q, factor * r, factor * product
                p_below, q_below, r_below = factor * p_below, factor * q_below, factor * r_below
        # a Newton step p/q is off by at most (k - 1) p/q, and near enough by r p^2 / q^3
        newton = p / q
        far = where_less(1e-9 * mu, count * newton, one, zero)
        far = where_less(2e-16 * mu, newton * newton * (r / q), one, far)
        if not any_less(zero, far):
            break
        spread = (count - 1.0) * ((count - 1.0) * q * q - 2.0 * count * r * p)
        step = count * p / (q + root(where_less(zero, spread, spread, zero)))
        mu = where_less(zero, far, mu - step, mu)
    first, ratio = c * p_below / q, product / p_below
    return mu - p / q, first, first * (ratio * ratio)


ZR, ZI, COUNT, SCALE, OLD_SCALE, ALPHA, BETA, THETA, FIRST2, RESIDUAL2 = range(10)  # rows of a state


@compiled
def _begin(lane, zr, zi, start, Q, new, old, alpha, beta, most, state):
    """Start a lane on the point z from the vector `start`."""
    for i in range(start.shape[0]):
        Q[new + i, lane], Q[new + i, LANES + lane] = start[i, 0], start[i, 1]
        Q[old + i, lane], Q[old + i, LANES + lane] = 0.0, 0.0
    for j in range(most + 1):
        alpha[j, lane], beta[j, lane] = 0.0, 0.0
    for row in range(10):
        state[row, lane] = 0.0
    state[ZR, lane], state[ZI, lane], state[SCALE, lane] = zr, zi, 1.0


@compiled
def ritz_values(alpha, beta, high, theta, first2, last2):
    """Largest eigenvalue and ends of its eigenvector of many tridiagonal matrices of one order, one a column.

    Parameters
    ----------
    alpha, beta : (k, m)
        Diagonals, and off-diagonals with a last row of zeros; m a multiple of `LANES`.
    high : (1, m)
        Upper bounds of the eigenvalues.
    theta, first2, last2 : (1, m)
        Out: the eigenvalue, and the squares of the first and last component of its unit eigenvector.
    """
    k = alpha.shape[0]
    count = splat(float(k))
    for at in range(0, alpha.shape[1], LANES):
        values = _top_ritz_value(alpha, beta, at, count, k, load(high, 0, at))
        store(theta, 0, at, values[0])
        store(first2, 0, at, values[1])
        store(last2, 0, at, values[2])


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
        The points.
    origin : int
        Number of the first point among all that the caller solves.
    widening : float
        sqrt((n - 1) / delta): from a random start the largest eigenvalue exceeds the Ritz value theta by more
        than widening * abs(s_1) * residual with probability at most delta.
    rtol : float
        Stop when the residual has sunk to this share of the Ritz value, and so has what a start that meets
        the top eigenvector `CAUTION` times less than most can hide: where the Ritz values are all but equal
        (far from the spectrum) the first residuals are small before the top one is found;
    floor : float
        or when sigma has sunk to this level of rounding noise (lower is 0 then).
    stop : (1,) uint8
        Set from outside to leave early.
    sigma, lower : (m,)
        Out: the value (up to rounding an upper bound of the truth) and the end of its interval; 0 within
        floor of an eigenvalue and where the solves overflow, which proves a value far below rounding noise;
        -1 where `MAX_STEPS` did not suffice.
    steps : (m,) int64
        Out: Lanczos steps taken.
    """
    n, points, ceiling = starts.shape[1], zr.shape[0], min(1.0 / (floor * floor), 1e300)
    caution = CAUTION * np.sqrt(float(n))
    # the last two Lanczos vectors, not normalised, in rows new:new + n and old:old + n of Q
    V, Q, new, old = np.zeros((n, 2 * LANES)), np.zeros((2 * n, 2 * LANES)), 0, n
    inverses = np.zeros((n // 2, 2 * LANES))
    alpha, beta = np.zeros((MAX_STEPS + 1, LANES)), np.zeros((MAX_STEPS + 1, LANES))
    state = np.zeros((10, LANES))
    state[ZR] = 1e3  # lanes without a point compute on this
    index = np.full(LANES, -1)
    queue, busy, most = 0, 0, 0
    while True:
        for c in range(LANES):
            if index[c] >= 0:
                continue
            while queue < points and _invert_slots(zr[queue], zi[queue], roots, c, inverses) <= floor * floor:
                sigma[queue], lower[queue], steps[queue] = 0.0, 0.0, 0
                queue += 1
            if queue == points:
                continue
            index[c] = queue
            start = starts[(queue + origin) % starts.shape[0]]
            _begin(c, zr[queue], zi[queue], start, Q, new, old, alpha, beta, most, state)
            queue += 1
            busy += 1
        if busy == 0 or stop[0] != 0:
            return

        x, y, scale, b = load(state, ZR, 0), load(state, ZI, 0), load(state, SCALE, 0), load(state, BETA, 0)
        a = _solve_adjoint(V, Q, new, scale, L, Li, slot, x, y, inverses)
        q = b * load(state, OLD_SCALE, 0)
        square = _solve(V, Q, new, old, a * scale, q, U, Ui, slot, x, y, inverses)
        new, old = old, new

        store(state, ALPHA, 0, a)
        most = 0
        for c in range(LANES):
            if index[c] >= 0:
                k = int(state[COUNT, c])
                alpha[k, c] = state[ALPHA, c]
                if k > 0:
                    beta[k - 1, c] = state[BETA, c]
                state[COUNT, c] = k + 1.0
                most = max(most, k + 1)
        # the top eigenvalue of [[theta, b], [b, a]] bounds the next theta from above
        middle, half = 0.5 * (load(state, THETA, 0) + a), 0.5 * (load(state, THETA, 0) - a)
        high = (1.0 + 1e-14) * (middle + root(half * half + b * b))
        theta, first2, last2 = _top_ritz_value(alpha, beta, 0, load(state, COUNT, 0), most, high)
        store(state, SCALE, 0, 1.0 / root(square))
        store(state, OLD_SCALE, 0, scale)
        store(state, BETA, 0, root(square))
        store(state, THETA, 0, theta)
        store(state, FIRST2, 0, first2)
        store(state, RESIDUAL2, 0, last2 * square)

        for c in range(LANES):
            i = index[c]
            if i < 0:
                continue
            best, residual, k = state[THETA, c], np.sqrt(state[RESIDUAL2, c]), int(state[COUNT, c])
            if best < ceiling and residual < 1e300:
                hidden = np.sqrt(state[FIRST2, c]) * residual
                if max(residual, caution * hidden) <= rtol * best:
                    excess = widening * hidden
                    sigma[i], lower[i] = 1.0 / np.sqrt(best), 1.0 / np.sqrt(best + excess)
                elif k < MAX_STEPS:
                    continue
                else:
                    sigma[i], lower[i] = -1.0, -1.0
            else:
                sigma[i], lower[i] = 1.0 / np.sqrt(best) if best < 1e300 else 0.0, 0.0
            steps[i] = k
            index[c] = -1
            busy -= 1
