"""LaTeX and Markdown as plain text: fractions as a/b, powers as a^b, no commands, no emphasis. Pure."""

import re
from collections import deque
from collections.abc import Iterator, Mapping

_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207a", "0123456789-+"
)
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207a]+")
_VULGAR: Mapping[str, str] = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
_VULGAR_SIGN = re.compile("[" + "".join(_VULGAR) + "]")

_WRAPPERS = (
    r"boxed|fbox|framebox|text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|bb|cal|frak|normal)|mbox|hbox|"
    r"operatorname|emph|underline|bm|boldsymbol|bold|ensuremath|displaystyle"
)
_WRAPPED = re.compile(rf"\\(?:{_WRAPPERS})\s*\{{([^{{}}]*)\}}")
_FRACTION = re.compile(
    r"(?P<whole>\d\s*)?\\[dtc]?frac\s*(?:\{(?P<a>[^{}]*)\}|(?P<one>\d))\s*(?:\{(?P<b>[^{}]*)\}|(?P<two>\d))"
)
_ROOT = re.compile(r"\\sqrt\s*(?:\[[^\]]*\])?\s*(?:\{([^{}]*)\}|(\d))")
_COMMANDS: Mapping[str, str] = {
    "times": "×", "cdot": "×", "ast": "×", "div": "÷", "pm": "±", "mp": "±", "approx": "≈", "simeq": "≈", "sim": "≈",
    "leq": "≤", "le": "≤", "leqslant": "≤", "geq": "≥", "ge": "≥", "geqslant": "≥", "lt": "<", "gt": ">", "neq": "≠",
    "ne": "≠", "pi": "π", "infty": "∞", "circ": "°", "degree": "°", "equiv": "=", "colon": ":", "lor": " or ",
    "land": " and ", "cup": "∪", "ldots": "...", "dots": "...", "cdots": "...",
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)\*?")
_UNDERSCORED = re.compile(r"(?<!\w)_(?=\S)([^_\n]+?)(?<=\S)_(?!\w)")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])")


def unformatted(text: str) -> str:
    """The text without LaTeX's commands and Markdown's emphasis."""
    text = _RAISED.sub(lambda found: "^" + found[0].translate(_SUPERSCRIPTS), text.replace("\N{FRACTION SLASH}", "/"))
    text = _VULGAR_SIGN.sub(lambda found: f" {_VULGAR[found[0]]}", text)
    text = re.sub(r"(?<=\d)~(?=\d)", "\N{NARROW NO-BREAK SPACE}", text)
    if "\\" in text or "$" in text or "{" in text:
        text = _without_latex(text)
    text = re.sub(r"[=-]>", "→", re.sub(r"</?[A-Za-z_]{3,}>", " ", text))
    text = re.sub(r"(?<=[\d)])\*\*(?=[\d(-])", "^", text)
    return re.sub(r"\*\*|__|`|~~", "", _UNDERSCORED.sub(r"\1", _EMPHASIS.sub(r"\2", text)))


def _without_latex(text: str) -> str:
    text = (
        re.sub(r"\\!\s*", "", text)
        .replace("\\{", "[")
        .replace("\\}", "]")
        .replace("{,}", ",")
        .replace("\\$", "$")
        .replace("\\%", "%")
        .replace("\\#", "#")
    )
    text = re.sub(r"\\[,;:> ]", "\N{NARROW NO-BREAK SPACE}", text)
    text = re.sub(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits)(?![A-Za-z])\s?", "", text)
    text = re.sub(r"\\(?:begin|end)\{[^{}]*\}", " ", re.sub(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?", "°", text))
    text = re.sub(r"(\d*)\.(\d*)\\(?:overline|dot|bar)\s*\{(\d{1,9})\}", _repeating, text)
    for _ in range(12):  # from the innermost braces outwards
        before = text
        text = _WRAPPED.sub(r"\1", text)
        text = _FRACTION.sub(_divided, text)
        text = _ROOT.sub(lambda found: f"√({found[1] or found[2]})", text)
        text = re.sub(r"\^\s*\{([^{}]*)\}", r"^(\1)", text)
        if text == before:
            break
    text = _COMMAND.sub(lambda found: _COMMANDS.get(found[1], " "), text)
    text = re.sub(r"\\[()\[\]]", " ", text).replace("\\\\", "\n").replace("$$", " ")
    return re.sub(r"[{}]", "", _without_dollars(text))


def _repeating(found: "re.Match[str]") -> str:
    """A decimal that repeats as a fraction."""
    whole, first, again = found[1] or "0", found[2], found[3]
    nines = int("9" * len(again)) * 10 ** len(first)
    return f"{int(whole + first + again) - int(whole + first)}/{nines}"


def _without_dollars(text: str) -> str:
    """A pair of dollar signs around a formula is none of money."""
    return re.sub(r"(?<![\w$])\$(?=\S)([^$\n]*[^$\s])\$(?![\w$])", _formula, text)


def _formula(found: "re.Match[str]") -> str:
    inner = found[1]
    return found[0] if re.match(r"[\d.,]+\s+[A-Za-z]{2,}.*\s$", inner) else inner


def _divided(found: "re.Match[str]") -> str:
    """A fraction of numbers as a/b, with a space after a whole number; any other in brackets, so that it is none."""
    above, below = (found["a"] or found["one"] or "").strip(), (found["b"] or found["two"] or "").strip()
    plain = all(re.fullmatch(r"[-+]?[\d.,]+", part) for part in (above, below))
    written = f"{above}/{below}" if plain else f"({above})/({below})"
    return f"{found['whole'].strip()} {written}" if found["whole"] else written


_MOST_BOXES = 20


def boxed(text: str) -> Iterator[tuple[int, int, str]]:
    r"""Each \boxed{...} of a text: where it begins and ends, and what is in it, braces in it included."""
    for found in deque(re.finditer(r"\\(?:boxed|fbox|framebox)\s*(?:\{|([^\s{}$\\]))", text), _MOST_BOXES):
        if found[1]:
            yield found.start(), found.end(), found[1]
            continue
        depth, place = 1, found.end()
        while place < len(text) and depth:
            if text[place] == "\\":
                place += 1
            elif text[place] in "{}":
                depth += 1 if text[place] == "{" else -1
            place += 1
        if not depth:
            yield found.start(), place, text[found.end() : place - 1]
