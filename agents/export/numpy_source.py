"""A traced JAX function as the source of a NumPy function: one line for each operation that depends on its arguments.

It holds for whatever an agent's `act` is made of, so no algorithm needs a second, hand-written forward pass. What depends on no
argument (a key, and all that is drawn from it) is computed once, here. A further operation is one more entry of `RULES`.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ...data.errors import WarmloopError
from .numpy_images import convolution, pooling

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
Rule = Callable[[Any, list["Value"]], str]


@dataclasses.dataclass(frozen=True)
class Value:
    """What a variable is in NumPy: an expression, and `known`, its value where that depends on no argument."""

    text: str
    shape: tuple[int, ...]
    known: Any = None


@dataclasses.dataclass(frozen=True)
class Line:
    """`targets = expression`."""

    targets: list[str]
    expression: str
    uses: set[str]


@dataclasses.dataclass(frozen=True)
class Source:
    """The body of a function, indented by four, and the arrays that it names as `c[0]`, `c[1]`, …"""

    body: str
    constants: list[np.ndarray]


def numpy_source(traced: ClosedJaxpr, arguments: Sequence[str]) -> Source:
    """The NumPy form of a traced function of one result; `arguments` are the expressions of its flat arguments.

    Raises:
        WarmloopError: it has an operation that no rule covers.
    """
    writer = _Writer()
    given = [Value(text, tuple(var.aval.shape)) for text, var in zip(arguments, traced.jaxpr.invars, strict=True)]  # pyright: ignore[reportAttributeAccessIssue]
    (result,) = writer.run(traced.jaxpr, traced.consts, given)
    lines = _live(writer.lines, result.text)
    body = [f"    {', '.join(line.targets)} = {line.expression}" for line in lines]
    return Source("\n".join([*body, f"    return {result.text}"]), writer.constants)


def _live(lines: list[Line], result: str) -> list[Line]:
    """Those of the lines that the result depends on."""
    needed, kept = {result}, []
    for line in reversed(lines):
        if needed & set(line.targets):
            needed |= line.uses
            kept.append(line)
    return kept[::-1]


class _Writer:
    def __init__(self):
        self.lines: list[Line] = []
        self.constants: list[np.ndarray] = []

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
        """Writes the lines of a program; returns its results."""
        values: dict[Any, Value] = dict(zip(jaxpr.invars, arguments, strict=True))
        values |= {var: Value("", np.shape(const), const) for var, const in zip(jaxpr.constvars, consts, strict=True)}

        def value(atom: Any) -> Value:
            return Value("", np.shape(atom.val), atom.val) if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            results = self._equation(equation, [value(atom) for atom in equation.invars])
            values |= dict(zip(equation.outvars, results, strict=True))
        return [self._named(value(atom)) if value(atom).known is not None else value(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[Value]) -> list[Value]:
        name = equation.primitive.name
        if all(each.known is not None for each in inputs):
            results = equation.primitive.bind(*(each.known for each in inputs), **equation.params)
            return [Value("", np.shape(result), result) for result in (results if equation.primitive.multiple_results else [results])]
        if name in CALLS:
            called = equation.params[CALLS[name]]
            closed = called if isinstance(called, ClosedJaxpr) else ClosedJaxpr(called, ())
            return self.run(closed.jaxpr, closed.consts, inputs)
        if name == "scan" and not equation.params["reverse"]:
            return self._unrolled(equation, inputs)
        if name not in RULES:
            raise WarmloopError(f"This policy cannot be written in NumPy: agents/export/numpy_source.py has no rule for `{name}`.")
        inputs = [self._named(each) if each.known is not None else each for each in inputs]
        expression = RULES[name](equation, inputs)
        if len(equation.outvars) == 1 and expression in [each.text for each in inputs]:
            return [Value(expression, tuple(equation.outvars[0].aval.shape))]
        return self._written(expression, inputs, [tuple(var.aval.shape) for var in equation.outvars])

    def _written(self, expression: str, inputs: Sequence[Value], shapes: Sequence[tuple[int, ...]]) -> list[Value]:
        """A further line, and its results of these shapes."""
        first = sum(len(line.targets) for line in self.lines)
        targets = [f"x{first + offset}" for offset in range(len(shapes))]
        self.lines.append(Line(targets, expression, {each.text.partition("[")[0] for each in inputs}))  # of x1[0], x1
        return [Value(target, shape) for target, shape in zip(targets, shapes, strict=True)]

    def _unrolled(self, equation: Any, inputs: list[Value]) -> list[Value]:
        """A loop, written out pass by pass: what it carries, and what it gives in each, stacked."""
        body, consts, carried = equation.params["jaxpr"], equation.params["num_consts"], equation.params["num_carry"]
        carry, every, given = inputs[consts : consts + carried], inputs[consts + carried :], []
        for number in range(equation.params["length"]):
            each = [
                Value(f"{x.text}[{number}]", x.shape[1:]) if x.known is None else Value("", x.shape[1:], np.asarray(x.known)[number])
                for x in every
            ]
            results = self.run(body.jaxpr, body.consts, [*inputs[:consts], *carry, *each])
            carry, made = results[:carried], results[carried:]
            given.append(made)
        return [*carry, *(self._stacked(parts) for parts in zip(*given, strict=True))]

    def _stacked(self, parts: Sequence[Value]) -> Value:
        shape = (len(parts), *parts[0].shape)
        return self._written(f"np.stack([{', '.join(each.text for each in parts)}])", parts, [shape])[0]

    def _named(self, value: Value) -> Value:
        """A known value as a number, or as an array of the constants."""
        array = np.asarray(value.known)
        if array.ndim == 0:
            number = repr(array.item())
            number = f"({number})" if number.startswith("-") else number
            return Value(number if np.isfinite(array) else f"float({str(array.item())!r})", ())
        self.constants.append(array)
        return Value(f"c[{len(self.constants) - 1}]", array.shape)


def _template(form: str) -> Rule:
    """The rule that fills in the inputs, and the parameters by name."""
    return lambda equation, inputs: form.format(*(each.text for each in inputs), **equation.params)


def _reduction(function: str) -> Rule:
    return lambda equation, inputs: f"np.{function}({inputs[0].text}, axis={tuple(equation.params['axes'])})"


def _shape(equation: Any) -> tuple[int, ...]:
    return tuple(equation.outvars[0].aval.shape)


def _reshaped(equation: Any, inputs: list[Value]) -> str:
    return inputs[0].text if inputs[0].shape == _shape(equation) else f"np.reshape({inputs[0].text}, {_shape(equation)})"


def _broadcast(equation: Any, inputs: list[Value]) -> str:
    (value, shape), places = (inputs[0], _shape(equation)), equation.params["broadcast_dimensions"]
    if value.shape == shape:
        return value.text
    between = tuple(value.shape[places.index(axis)] if axis in places else 1 for axis in range(len(shape)))
    text = value.text if between == value.shape else f"np.reshape({value.text}, {between})"
    return text if between == shape else f"np.broadcast_to({text}, {shape})"


def _product(equation: Any, inputs: list[Value]) -> str:
    """`@` where it means the same, else einsum, whose result has the batch's axes first, then the left's, then the right's."""
    (left, right), ((left_sum, right_sum), (left_batch, right_batch)) = inputs, equation.params["dimension_numbers"]
    if not left_batch and tuple(left_sum) == (len(left.shape) - 1,) and tuple(right_sum) == (0,) and len(right.shape) <= 2:
        return f"{left.text} @ {right.text}"
    letters = iter(string.ascii_letters)
    names = [{}, {}]
    for axes in (zip(left_batch, right_batch, strict=True), zip(left_sum, right_sum, strict=True)):
        for one, other in axes:
            names[0][one] = names[1][other] = next(letters)
    operands = [
        "".join(own.setdefault(axis, next(letters)) for axis in range(len(each.shape))) for own, each in zip(names, inputs, strict=True)
    ]
    batch = "".join(names[0][axis] for axis in left_batch)
    rest = "".join(letter for text, other in (operands, operands[::-1]) for letter in text if letter not in other)
    return f'np.einsum("{operands[0]},{operands[1]}->{batch}{rest}", {left.text}, {right.text})'


def _slice(equation: Any, inputs: list[Value]) -> str:
    params = equation.params
    strides = params["strides"] or (1,) * len(params["start_indices"])
    parts = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return f"{inputs[0].text}[{', '.join(f'{low}:{high}:{by}' if by != 1 else f'{low}:{high}' for low, high, by in parts)}]"


def _split(equation: Any, inputs: list[Value]) -> str:
    ends = np.cumsum(equation.params["sizes"])[:-1].tolist()
    return f"np.split({inputs[0].text}, {ends}, axis={equation.params['axis']})"


def _stack(equation: Any, inputs: list[Value]) -> str:
    return f"np.stack([{', '.join(each.text for each in inputs)}], axis={equation.params['axis']})"


def _concatenate(equation: Any, inputs: list[Value]) -> str:
    return f"np.concatenate([{', '.join(each.text for each in inputs)}], axis={equation.params['dimension']})"


def _gather(equation: Any, inputs: list[Value]) -> str:
    """Whole entries along one axis, by one index: `x[i]`."""
    numbers, (operand, index) = equation.params["dimension_numbers"], inputs
    sizes, axes = equation.params["slice_sizes"], numbers.start_index_map
    others = tuple(size for axis, size in enumerate(operand.shape) if axis not in axes)
    whole = len(axes) == 1 and tuple(numbers.collapsed_slice_dims) == tuple(axes) and not numbers.operand_batching_dims
    if not (whole and index.shape == (1,) and tuple(size for axis, size in enumerate(sizes) if axis not in axes) == others):
        raise WarmloopError("This policy cannot be written in NumPy: it gathers other than by one index along one axis.")
    return f"np.take({operand.text}, np.clip({index.text}[0], 0, {operand.shape[axes[0]] - 1}), axis={axes[0]})"


def _dynamic_slice(equation: Any, inputs: list[Value]) -> str:
    operand, *starts = inputs
    sizes = equation.params["slice_sizes"]
    spans = [(size, own, start.text) for size, own, start in zip(sizes, operand.shape, starts, strict=True)]
    parts = [":" if size == own else f"np.clip({start}, 0, {own - size}) + np.arange({size})" for size, own, start in spans]
    if sum(part != ":" for part in parts) > 1:
        raise WarmloopError("This policy cannot be written in NumPy: it slices at places known only as it runs, along several axes.")
    return f"{operand.text}[{', '.join(parts)}]"


def _division(equation: Any, inputs: list[Value]) -> str:
    if not np.issubdtype(equation.outvars[0].aval.dtype, np.floating):
        raise WarmloopError("This policy cannot be written in NumPy: it divides whole numbers.")
    return f"{inputs[0].text} / {inputs[1].text}"


def _choice(equation: Any, inputs: list[Value]) -> str:
    which, no, yes = inputs  # of two, as a policy's conditions are
    return f"np.where({which.text}, {yes.text}, {no.text})"


def _greatest(equation: Any, inputs: list[Value]) -> str:
    """The k greatest along the last axis, from the greatest down, and where they are."""
    given, count = inputs[0].text, equation.params["k"]
    order = f"np.argsort(-{given}, axis=-1, kind='stable')[..., :{count}]"
    return f"np.take_along_axis({given}, {order}, axis=-1), {order}"


def _argument(function: str) -> Rule:
    return lambda equation, inputs: f"np.{function}({inputs[0].text}, axis={equation.params['axes'][0]})"


SIGNS = {"add": "+", "add_any": "+", "sub": "-", "mul": "*", "and": "&", "or": "|"}
SIGNS |= {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
FUNCTIONS = ("abs", "cos", "exp", "exp2", "expm1", "floor", "log", "log1p", "sign", "sin", "sqrt", "square", "tanh")
RULES: dict[str, Rule] = {
    **{name: _template(f"{{}} {sign} {{}}") for name, sign in SIGNS.items()},
    **{name: _template(f"np.{name}({{}})") for name in FUNCTIONS},
    "div": _division,
    "neg": _template("-{}"),
    "not": _template("~{}"),
    "max": _template("np.maximum({}, {})"),
    "min": _template("np.minimum({}, {})"),
    "pow": _template("{} ** {}"),
    "integer_pow": _template("{} ** {y}"),
    "rsqrt": _template("1.0 / np.sqrt({})"),
    "logistic": _template("0.5 + 0.5 * np.tanh(0.5 * {})"),
    "clamp": _template("np.clip({1}, {0}, {2})"),
    "select_n": _choice,
    "copy": _template("{}"),
    "stop_gradient": _template("{}"),
    "convert_element_type": _template("np.asarray({}).astype('{new_dtype}')"),
    "transpose": _template("np.transpose({}, {permutation})"),
    "reduce_sum": _reduction("sum"),
    "reduce_max": _reduction("max"),
    "reduce_min": _reduction("min"),
    "argmax": _argument("argmax"),
    "argmin": _argument("argmin"),
    "top_k": _greatest,
    "rev": _template("np.flip({}, axis={dimensions})"),
    "is_finite": _template("np.isfinite({})"),
    "reshape": _reshaped,
    "squeeze": _reshaped,
    "expand_dims": _reshaped,
    "broadcast_in_dim": _broadcast,
    "dot_general": _product,
    "conv_general_dilated": convolution,
    "reduce_window_max": pooling,
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "stack": _stack,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
}
