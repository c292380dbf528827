"""Units that answers are given in: what two of them have to do with each other. Pure."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """What a number counts, and how many of the smallest such thing are in one."""

    kind: str
    size: Fraction


_TABLE: Mapping[str, Mapping[str, str]] = {
    "length": {
        "1": "mm millimeter millimeters millimetre millimetres",
        "10": "cm centimeter centimeters centimetre centimetres",
        "1000": "m meter meters metre metres",
        "1000000": "km kilometer kilometers kilometre kilometres",
        "1609344": "mile miles mi",
        "25.4": "inch inches",
        "304.8": "foot feet ft",
        "914.4": "yard yards yd",
    },
    "mass": {
        "1": "mg milligram milligrams",
        "1000": "g gram grams",
        "1000000": "kg kilogram kilograms kilo kilos",
        "1000000000": "tonne tonnes",
        "453592.37": "pound pounds lb lbs",
        "28349.523125": "ounce ounces oz",
    },
    "time": {
        "1": "s second seconds sec secs",
        "60": "m minute minutes min mins",
        "3600": "h hour hours hr hrs",
        "86400": "day days",
        "604800": "week weeks",
    },
    "area": {
        "1": "mm^2",
        "100": "cm^2",
        "1000000": "m^2",
        "1000000000000": "km^2",
        "10000000000": "ha hectare hectares",
    },
    "volume": {
        "1": "ml milliliter milliliters millilitre millilitres cm^3",
        "1000": "l liter liters litre litres",
        "1000000": "m^3",
    },
    "speed": {"1": "m/s", "5/18": "km/h kph kmh", "0.44704": "mph"},
    "dollars": {"1": "cent cents ¢", "100": "$ usd dollar dollars"},
    "euros": {"1": "cent cents", "100": "€ eur euro euros"},
    "pounds": {"1": "penny pence", "100": "£ gbp pound pounds"},
    "yen": {"1": "¥ jpy yen 円"},
    "won": {"1": "₩ krw won 원"},
    "rupees": {"1": "₹ inr rs rs. rupee rupees"},
    "celsius": {"1": "°c celsius"},
    "fahrenheit": {"1": "°f fahrenheit"},
}
Units = tuple[Unit, ...]
"""What a name may stand for: `m` for metres or minutes."""


def units_of(names: Iterable[str]) -> Units:
    """What the first of these names that is known may stand for; nothing where none is."""
    return next((found for name in names if (found := _named(name.lower()))), ())


def _named(name: str) -> Units:
    return tuple(
        Unit(kind, Fraction(size))
        for kind, sizes in _TABLE.items()
        for size, held in sizes.items()
        if name in held.split()
    )


def converted(value: Fraction, has: Units, wanted: Units) -> Fraction | None:
    """A value in the wanted unit; as it is where either is unknown, None where they measure different things."""
    if not has or not wanted:
        return value
    pairs = ((one, other) for one in has for other in wanted if one.kind == other.kind)
    return next((value * one.size / other.size for one, other in pairs), None)
