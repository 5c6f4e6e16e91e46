"""A survey in words: the lines before training, and the table of ``sagan data``."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sagan.data.survey import SMALL_SHARE, Alike, Reason, Survey
from sagan.errors import printable
from sagan.system.memory import readable
from sagan.system.progress import duration

_MOST_NOTES = 4
_SHOWN_CLASSES = 20
_FEW = 16  # pictures of a class
_IMBALANCE = 100  # the largest class over the smallest
_MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "RGB": "colour",
    "RGBA": "colour with transparency",
    "I;16": "grey of 16 bits",
    "I;16B": "grey of 16 bits",
    "RGB;16": "colour of 16 bits",
    "RGBA;16": "transparent colour of 16 bits",
    "I": "grey of 32 bits",
    "F": "grey fractions",
}
_CHANNELS = {1: "grey", 3: "colour", 4: "colour with transparency"}


def text(survey: Survey, *, wide: bool = False) -> str:
    """Writes a survey down.

    Args:
        survey: What was found.
        wide: The full table; otherwise at most eight lines, what needs attention first.
    """
    notes = warnings_of(survey)
    if wide:
        rows = [f"{heading:<14}{words}" for heading, words in _survey_rows(survey)]
        return _joined_lines([*rows, *(f"note: {note}" for note in notes)])
    if len(notes) > _MOST_NOTES:
        more = len(notes) - _MOST_NOTES + 1
        notes = [*notes[: _MOST_NOTES - 1], f"and {more} more; see sagan data {survey.source}"]
    return _joined_lines([*(f"note: {note}" for note in notes), *_short(survey)])


def _joined_lines(lines: Sequence[str]) -> str:
    return "\n".join(map(printable, lines))


def survey_as_json(survey: Survey) -> dict[str, Any]:
    """A survey as plain values, for JSON; the warnings and the rule also in words."""
    return {**asdict(survey), "rule": rule_text(survey), "warnings": warnings_of(survey)}


def warnings_of(survey: Survey) -> list[str]:
    """What a user should look at before training, a line each, the gravest first."""
    return [
        *_of_skipped(survey),
        *_of_classes(survey),
        *_of_values(survey),
        *_of_colours(survey),
        *_of_copies(survey),
        *_of_sizes(survey),
        *survey.notes,
    ]


def _of_skipped(survey: Survey) -> Iterator[str]:
    if survey.skipped:
        count = sum(reason.pictures for reason in survey.skipped)
        looked = survey.sampled or survey.found
        can = "1 picture cannot" if count == 1 else f"{count:,} of {looked:,} pictures cannot"
        yield f"{can} be read and {_be(count)} skipped: {_reasons_text(survey.skipped)}"


def _of_classes(survey: Survey) -> Iterator[str]:
    if not survey.classes:
        if survey.used < _FEW:
            too = "is too little" if survey.used == 1 else "are too few"
            yield f"{_number_of(survey.used)} {too} to learn from"
        return
    if len(survey.classes) == 1:
        yield f"all pictures are of one class, {_quoted(next(iter(survey.classes)))}"
        return
    few = [name for name, count in survey.classes.items() if count < _FEW]
    smallest = min(survey.classes, key=lambda name: survey.classes[name])
    largest = max(survey.classes, key=lambda name: survey.classes[name])
    least, most = survey.classes[smallest], survey.classes[largest]
    contrast = f"{_quoted(largest)} has {most:,} pictures and {_quoted(smallest)} {least:,}"
    if most > _IMBALANCE * least:
        yield f"{contrast}; --data.order balanced shows every class equally often"
    if len(few) == 1:
        has = "a single picture" if least == 1 else _number_of(least)
        yield f"the class {_quoted(smallest)} has {has}, too little to learn from"
    elif few:
        yield (
            f"{len(few):,} of {len(survey.classes):,} classes have fewer than {_FEW} pictures,"
            f" {_quoted(smallest)} the fewest with {least:,}"
        )


def _of_values(survey: Survey) -> Iterator[str]:
    values = survey.values
    if values is None:
        if survey.rules.range:
            yield "data.range has no effect: all pictures have 8 bits, 0 is black and 255 white"
        return
    spread = f"{_number(values.lowest)} to {_number(values.highest)}"
    if values.highest < SMALL_SHARE * values.top:
        top = values.highest
        if top == int(top):
            top = 2 ** max(1, int(top).bit_length()) - 1  # of the bits in use: 12 give 4095
        yield (
            f"values go from {spread} where {_number(values.top)} is white, so that pictures come"
            f" out dark; --data.range 0 --data.range {top:.7g} shows {_number(top)} white"
        )
    elif values.outside:
        yield (
            f"{_number_of(values.outside)} {_have(values.outside)} values outside"
            f" what is shown from black to white ({spread} in all,"
            f" {_number(values.top)} is white);"
            " --data.range states it"
        )


def _of_colours(survey: Survey) -> Iterator[str]:
    if count := survey.made_grey:
        yield f"{_number_of(count)} {_have(count)} colours, which data.channels 1 makes grey"


def _of_copies(survey: Survey) -> Iterator[str]:
    equal, looked = survey.copies.pictures, sum(survey.modes.values())
    if 2 * equal > looked:
        told = f"{equal:,} of {looked:,} pictures are equal to an earlier one after the rule"
        is_as_packed = survey.rules.size is None
        if survey.special.transparent and survey.rules.channels != 4 and not is_as_packed:
            background = "black" if survey.rules.background == "white" else "white"
            told += f"; --data.background {background} or --data.channels 4 may show what they are"
        yield told
    count = survey.copies.in_other_classes
    if count and survey.classes:
        one, other = map(_quoted, survey.copies.example)
        yield (
            f"{_number_of(count)} {_be(count)} equal to one of another class, for example {one} and"
            f" {other}"
        )


def _of_sizes(survey: Survey) -> Iterator[str]:
    count, looked = survey.enlarged.pictures, sum(survey.modes.values())
    if 2 * count > looked:
        yield (
            f"{count:,} of {looked:,} pictures are smaller than wanted and will be enlarged, up to"
            f" {survey.enlarged.most:g} times; a smaller --data.resolution loses nothing"
        )


def _short(survey: Survey) -> Iterator[str]:
    part = f"; part {survey.part} is taken" if survey.part else ""
    passed = sum(reason.pictures for reason in survey.passed_over)
    other = f"; {passed:,} other files passed over" if passed > 1 else ""
    other = "; 1 other file passed over" if passed == 1 else other
    yield f"pictures: {_found_text(survey)}, from {survey.kind}{part}{other}"
    if survey.sizes:
        grown = survey.enlarged
        enlarged = f"{_number_of(grown.pictures)} enlarged, up to {grown.most:g} times"
        yield f"sizes: {_sizes_text(survey)}; {enlarged if grown.pictures else 'none enlarged'}"
    yield f"rule: {rule_text(survey)}"
    yield f"packed: {_packed_text(survey)}"


def _survey_rows(survey: Survey) -> Iterator[tuple[str, str]]:
    yield "source", f"{survey.source}: {survey.kind}"
    if survey.parts:
        parts = [f"{name} {count:,}" for name, count in survey.parts.items()]
        yield "parts", f"{', '.join(parts)}; {survey.part} is taken (--data.split)"
    yield "pictures", _found_text(survey)
    if survey.classes:
        yield "classes", _classes_text(survey)
    if survey.sampled:
        yield "looked at", f"{survey.sampled:,} of {survey.found:,} pictures, evenly chosen"
    if sizes := survey.sizes:
        yield "sizes", _sizes_text(survey)
        if sizes.different > 1:
            yield "shapes", f"width over height {sizes.narrowest:g} to {sizes.widest:g}"
        yield "pixels", ", ".join(f"{_MODES.get(m, m)} {n:,}" for m, n in survey.modes.items())
    laid = "kept so" if survey.rules.channels == 4 else f"laid on {survey.rules.background}"
    for heading, count, words in (
        ("profiles", survey.special.profiles, "converted to sRGB"),
        ("bad profiles", survey.special.broken_profiles, "ignored"),
        ("rotated", survey.special.rotated, "turned upright as their EXIF orientation says"),
        ("transparent", survey.special.transparent, laid),
        ("animated", survey.special.animated, f"frames taken: {survey.rules.frame}"),
    ):
        if count:
            yield heading, f"{count:,}, {words}"
    yield "enlarged", _enlarged_text(survey)
    if values := survey.values:
        spread = f"{_number(values.lowest)} to {_number(values.highest)}"
        yield "values", f"{spread} in {_number_of(values.pictures)}; {values.top:,g} is white"
    yield "copies", _alike_text(survey.copies, "equal to")
    yield "look alike", _alike_text(survey.lookalikes, "like")
    yield "skipped", _reasons_text(survey.skipped)
    yield "passed over", _reasons_text(survey.passed_over)
    yield "rule", rule_text(survey)
    yield "packed", _packed_text(survey)


def rule_text(survey: Survey) -> str:
    """What is done to every picture, such as "centre square, reduced to 64 x 64, grey"."""
    rules = survey.rules
    if rules.size is None:
        return f"as stored, {_CHANNELS[rules.channels]}"
    height, width = rules.size
    shape = "square" if height == width else "part"
    cut = {
        "centre": f"centre {shape}",
        "random": f"{shape} at a place drawn once per picture",
        "pad": f"whole picture on {rules.background}",
        "stretch": "whole picture, distorted",
        "box": f"box from {rules.box[:2]} to {rules.box[2:]}",
    }[rules.crop]
    looked, grown = sum(survey.modes.values()), survey.enlarged.pictures
    verb = "reduced to" if survey.reduced else "kept at"
    if grown:
        verb = "enlarged to" if grown == looked else "resized to"
    side = f"{height} x {width}" if height == width else f"{height} high and {width} wide"
    return f"{cut}, {verb} {side}, {_CHANNELS[rules.channels]}"


def _found_text(survey: Survey) -> str:
    found = f"{survey.used:,}"
    if survey.held_out:
        found += f" ({survey.held_out:,} of them held out)"
    if not survey.classes:
        return f"{found} without classes{' (--data.labels none)' * survey.has_labels_off}"
    if len(survey.classes) == 1:
        return f"{found} in 1 class"
    smallest, *_, largest = sorted(survey.classes, key=lambda name: survey.classes[name])
    most, least = (_class_and_count(survey, name) for name in (largest, smallest))
    counts = f"{most} to {least}"
    if survey.classes[largest] == survey.classes[smallest]:
        counts = f"{survey.classes[largest]:,} each"
    return f"{found} in {len(survey.classes):,} classes ({counts})"


def _classes_text(survey: Survey) -> str:
    named = [_class_and_count(survey, name) for name in survey.classes]
    if len(named) <= _SHOWN_CLASSES:
        return f"{len(named)}: {', '.join(named)}"
    order = sorted(survey.classes, key=lambda name: -survey.classes[name])
    ends = [*order[: _SHOWN_CLASSES // 2], *order[-(_SHOWN_CLASSES // 2) :]]
    named = [_class_and_count(survey, name) for name in ends]
    named.insert(_SHOWN_CLASSES // 2, "...")
    return f"{len(order):,}: {', '.join(named)}"


def _class_and_count(survey: Survey, name: str) -> str:
    shown = _quoted(name) if name[-1:].isdigit() else name
    return f"{shown} {survey.classes[name]:,}"


def _sizes_text(survey: Survey) -> str:
    assert survey.sizes
    least, most, common = (
        f"{width:,} x {height:,}"
        for width, height in (
            survey.sizes.smallest,
            survey.sizes.largest,
            survey.sizes.most_common,
        )
    )
    if survey.sizes.different == 1:
        return f"all {least}"
    return f"{least} to {most}, most often {common}, {survey.sizes.different:,} different"


def _enlarged_text(survey: Survey) -> str:
    grown = survey.enlarged
    return f"{grown.pictures:,}, up to {grown.most:g} times" if grown.pictures else "none"


def _alike_text(alike: Alike, words: str) -> str:
    if not alike.pictures:
        return "none"
    one, other = map(_quoted, alike.example)
    across = f" ({alike.in_other_classes:,} of another class)" * bool(alike.in_other_classes)
    are = f"{_number_of(alike.pictures)} {_be(alike.pictures)} {words} an earlier one"
    return f"{are}{across}, for example {other} {words} {one}"


def _reasons_text(reasons: Sequence[Reason]) -> str:
    told = [f"{r.reason} ({r.pictures:,}, such as {_quoted(r.example)})" for r in reasons[:3]]
    if len(reasons) > len(told):
        left = sum(reason.pictures for reason in reasons[len(told) :])
        told.append(f"other reasons ({left:,})")
    return ", ".join(told) or "none"


def _packed_text(survey: Survey) -> str:
    if survey.seconds is None:
        return readable(survey.size)
    time = duration(survey.seconds) if survey.seconds >= 1 else "less than a second"
    takes = "will take about" if survey.sampled else "took"
    return f"{readable(survey.size)}; {takes} {time}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _quoted(name: str) -> str:
    return f"'{name}'"


def _number_of(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
