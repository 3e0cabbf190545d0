"""The small arithmetic of tensor shapes: symbols, integers, + - * and exact division."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import cache

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.FloorDiv: operator.floordiv,
}


@cache
def _parse(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def evaluate(expression: str | int, numbers: Mapping[str, int]) -> int:
    """The whole number that an expression gives.

    Raises:
        ValueError: a symbol that is not among `numbers`, a division that is not exact, or no arithmetic.
    """
    if isinstance(expression, int):
        return expression
    try:
        return _value(_parse(expression), numbers)
    except (SyntaxError, KeyError, ArithmeticError) as error:
        raise ValueError(f"'{expression}' cannot be computed: {error}") from None


def _value(node: ast.expr, numbers: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return numbers[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            a, b = _value(left, numbers), _value(right, numbers)
            if isinstance(op, ast.Div | ast.FloorDiv) and a % b:
                raise ArithmeticError(f"{a} is not divisible by {b}")
            return _OPERATORS[type(op)](a, b)
        case _:
            raise ArithmeticError(f"'{ast.unparse(node)}' is not arithmetic")
