"""What is different between two versions: which sections came, went, moved or changed, and which words of them.

Pure functions over canonical texts and their elements. Every span is exact: `text[span]` is what is shown, and putting
the new words of a section's hunks in the place of the old ones gives its new text.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Final

from app.domain.corpus import Element, ElementKind, Span


class Change(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"
    """It stands elsewhere, in another order or under another heading; with hunks, if its words changed too."""
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One side: canonical text, and the elements that say where its sections are."""

    text: str
    elements: Sequence[Element]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """Words that stand in the place of others; an empty span is a place where nothing stood, or stands now."""

    old: Span
    new: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionChange:
    """A section that is not as it was: its headings and span on each side where it is."""

    change: Change
    old_section: tuple[str, ...] | None
    new_section: tuple[str, ...] | None
    old: Span | None
    new: Span | None
    hunks: tuple[Hunk, ...] = ()
    coarse: bool = False
    """Some hunks are larger than they would have to be: comparing on would have taken too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """In the order of the new text; what was removed stands after what it used to follow."""

    sections: tuple[SectionChange, ...]
    unchanged: int

    @property
    def coarse(self) -> bool:
        return any(each.coarse for each in self.sections)


def difference(old: Text, new: Text) -> Difference:
    """Compared section by section, then line by line, then word by word. The same texts, the same difference."""
    olds, news = _sections(old), _sections(new)
    pairs = _Pairing(olds, news).found()
    moved = _moved(olds, news, pairs)
    effort = _Effort()
    placed: list[tuple[tuple[int, int, int], SectionChange]] = []
    for o, n in sorted(pairs.items()):
        before, after = olds[o], news[n]
        hunks, coarse = ((), False) if before.text == after.text else _hunks(before, after, effort)
        if not hunks and o not in moved:
            continue
        change = SectionChange(
            change=Change.MOVED if o in moved else Change.CHANGED,
            old_section=before.path,
            new_section=after.path,
            old=before.span,
            new=after.span,
            hunks=hunks,
            coarse=coarse,
        )
        placed.append(((n, 0, 0), change))
    taken = frozenset(pairs.values())
    for n, after in enumerate(news):
        if n not in taken:
            added = SectionChange(
                change=Change.ADDED, old_section=None, new_section=after.path, old=None, new=after.span
            )
            placed.append(((n, 0, 0), added))
    following = -1
    for o, before in enumerate(olds):
        following = pairs.get(o, following)
        if o not in pairs:
            removed = SectionChange(
                change=Change.REMOVED, old_section=before.path, new_section=None, old=before.span, new=None
            )
            placed.append(((following, 1, o), removed))
    placed.sort(key=lambda each: each[0])
    return Difference(
        sections=tuple(change for _, change in placed),
        unchanged=len(pairs) - sum(1 for _, each in placed if each.change in (Change.MOVED, Change.CHANGED)),
    )


def readable(found: Difference, old: str, new: str) -> str:
    """The difference for a person to read: `[-old words-]` and `{+new words+}` between a few words around them."""
    if not found.sections:
        return "Nothing is different.\n"
    blocks = [_told(each, old, new) for each in found.sections]
    counted = Counter(each.change for each in found.sections)
    summary = ", ".join(f"{counted[change]} {change}" for change in Change if counted[change])
    kept = "section" if found.unchanged == 1 else "sections"
    return "\n\n".join([f"{summary}; {found.unchanged} {kept} unchanged.", *blocks]) + "\n"


_AROUND_CHARS: Final = 60


def _told(each: SectionChange, old: str, new: str) -> str:
    was, now = _heading(each.old_section), _heading(each.new_section)
    match each.change:
        case Change.ADDED if each.new is not None:
            return f"== {now}: added\n{{+{each.new.of(new)}+}}"
        case Change.REMOVED if each.old is not None:
            return f"== {was}: removed\n[-{each.old.of(old)}-]"
    where = f"{was} -> {now}" if was != now else now
    lines = [f"== {where}: {each.change}{' and changed' if each.change is Change.MOVED and each.hunks else ''}"]
    for hunk in each.hunks:
        section = each.new or Span(start=0, end=len(new))
        before = new[max(section.start, hunk.new.start - _AROUND_CHARS) : hunk.new.start].rpartition("\n")[2]
        after = new[hunk.new.end : min(section.end, hunk.new.end + _AROUND_CHARS)].partition("\n")[0]
        gone = f"[-{hunk.old.of(old)}-]" if hunk.old.start < hunk.old.end else ""
        come = f"{{+{hunk.new.of(new)}+}}" if hunk.new.start < hunk.new.end else ""
        lines.append(f"{before}{gone}{come}{after}")
    if each.coarse:
        lines.append("(The texts are long and very different: what is shown as changed may hold words that are not.)")
    return "\n".join(lines)


def _heading(section: tuple[str, ...] | None) -> str:
    return " > ".join(section or ()) or "(no heading)"


# -- Sections ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A heading and what stands under it, down to the next heading of any level; without one, an opening or a whole."""

    path: tuple[str, ...]
    span: Span
    text: str
    body: str
    parent: int | None


def _sections(side: Text) -> list[_Section]:
    found: list[_Section] = []
    by_path: dict[tuple[str, ...], int] = {}
    for path, titled, elements in _grouped(side):
        span = Span(start=elements[0].span.start, end=elements[-1].span.end)
        body = elements[1:] if titled else elements
        within = Span(start=body[0].span.start, end=span.end) if body else Span(start=span.end, end=span.end)
        parent = by_path.get(path[:-1]) if path else None
        by_path[path] = len(found)
        found.append(_Section(path=path, span=span, text=span.of(side.text), body=within.of(side.text), parent=parent))
    return found


def _grouped(side: Text) -> Iterator[tuple[tuple[str, ...], bool, list[Element]]]:
    """Runs of elements under one heading, with its path. A path cuts long headings, so theirs is taken from it."""
    path: tuple[str, ...] = ()
    titled = False
    run: list[Element] = []
    for element in side.elements:
        title = element.kind is ElementKind.TITLE
        alone = titled and len(run) == 1 and len(element.section) == len(path)
        if run and (title or (element.section != path and not alone)):
            yield path, titled, run
            run = []
        if not run:
            titled = title
            path = (*element.section, " ".join(element.span.of(side.text).split())) if title else element.section
        elif alone:
            path = element.section
        run.append(element)
    if run:
        yield path, titled, run
    elif side.text:
        whole = Element(kind=ElementKind.OTHER, span=Span(start=0, end=len(side.text)))
        yield (), False, [whole]


class _Pairing:
    """Which old section is which new one, by ever weaker signs; what is left over came or went."""

    def __init__(self, olds: Sequence[_Section], news: Sequence[_Section]) -> None:
        self._olds, self._news = olds, news
        self._pairs: dict[int, int] = {}
        self._back: dict[int, int] = {}

    def found(self) -> dict[int, int]:
        """1. The same words in the same place. 2. The same words elsewhere. 3. The same headings. 4. Parents of what
        was paired, and what has the same heading under them. 5. Most of the words."""
        self._by(lambda each: (each.path, each.text))
        self._by(lambda each: each.text if len(each.body) >= _TELLING_CHARS else None)
        self._by(lambda each: each.body if len(each.body) >= _TELLING_CHARS else None, once=True)
        self._by(lambda each: each.path)
        self._under_parents()
        self._alike()
        self._under_parents()
        return self._pairs

    def _by(self, sign: Callable[[_Section], Hashable | None], *, once: bool = False) -> None:
        """Pair what bears the same sign, in order; with `once`, only if one alone on each side bears it."""
        bearing: defaultdict[Hashable, deque[int]] = defaultdict(deque)
        for o in self._left_old():
            if (borne := sign(self._olds[o])) is not None:
                bearing[borne].append(o)
        new_bearing: defaultdict[Hashable, list[int]] = defaultdict(list)
        for n in self._left_new():
            if (borne := sign(self._news[n])) is not None and borne in bearing:
                new_bearing[borne].append(n)
        for borne, several in new_bearing.items():
            if once and (len(several) > 1 or len(bearing[borne]) > 1):
                continue
            for o, n in zip(bearing[borne], several, strict=False):
                self._pair(o, n)

    def _under_parents(self) -> None:
        before = -1
        while before != len(self._pairs):
            before = len(self._pairs)
            for o, n in sorted(self._pairs.items()):
                above, over = self._olds[o].parent, self._news[n].parent
                if above is not None and over is not None and above not in self._pairs and over not in self._back:
                    self._pair(above, over)
            waiting: defaultdict[tuple[int, str], deque[int]] = defaultdict(deque)
            for o in self._left_old():
                parent = self._olds[o].parent
                if parent is not None and parent in self._pairs:
                    waiting[self._pairs[parent], self._olds[o].path[-1]].append(o)
            for n in self._left_new():
                parent = self._news[n].parent
                if parent is not None and (several := waiting.get((parent, self._news[n].path[-1]))):
                    self._pair(several.popleft(), n)

    def _alike(self) -> None:
        """Pair the most alike first. Passed over where that would compare too much."""
        old_words = {o: Counter(_WORD.findall(self._olds[o].text)) for o in self._left_old()}
        new_words = {n: Counter(_WORD.findall(self._news[n].text)) for n in self._left_new()}
        work = len(new_words) * sum(map(len, old_words.values())) + len(old_words) * sum(map(len, new_words.values()))
        if work > _MOST_ALIKE:
            return
        ranked = []
        for o, words in old_words.items():
            for n, others in new_words.items():
                total = words.total() + others.total()
                if total >= _TELLING_WORDS and (alike := 2 * (words & others).total() / total) >= _ALIKE:
                    ranked.append((-alike, o, n))
        for _, o, n in sorted(ranked):
            if o not in self._pairs and n not in self._back:
                self._pair(o, n)

    def _pair(self, o: int, n: int) -> None:
        self._pairs[o], self._back[n] = n, o

    def _left_old(self) -> list[int]:
        return [o for o in range(len(self._olds)) if o not in self._pairs]

    def _left_new(self) -> list[int]:
        return [n for n in range(len(self._news)) if n not in self._back]


_TELLING_CHARS: Final = 40
"""Of text that is taken for the same wherever it stands: less ("None.", "See above.") says too little."""
_TELLING_WORDS: Final = 12
"""Of both sides together, for the share of common words to say something."""
_ALIKE: Final = 0.6
_MOST_ALIKE: Final = 2_000_000


def _moved(olds: Sequence[_Section], news: Sequence[_Section], pairs: dict[int, int]) -> frozenset[int]:
    """The old sections that stand elsewhere now: out of the longest order that was kept, or under another parent."""
    order = sorted(pairs)
    kept = {order[at] for at in _longest_rising([pairs[o] for o in order])}

    def elsewhere(o: int) -> bool:
        above, over = olds[o].parent, news[pairs[o]].parent
        if above is None or over is None:
            return len(olds[o].path) != len(news[pairs[o]].path)
        return pairs.get(above) != over

    return frozenset(o for o in order if o not in kept or elsewhere(o))


def _longest_rising(numbers: Sequence[int]) -> list[int]:
    """Where a longest rising subsequence of different numbers stands (patience sorting)."""
    tails: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for place, number in enumerate(numbers):
        pile = bisect_left(tails, number)
        before.append(at[pile - 1] if pile else -1)
        tails[pile : pile + 1] = [number]
        at[pile : pile + 1] = [place]
    found: list[int] = []
    place = at[-1] if at else -1
    while place >= 0:
        found.append(place)
        place = before[place]
    return found[::-1]


# -- Words -------------------------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
"""A word or a sign with the white space before it: what a reader sees as one thing that is there or not."""
_WORD: Final = re.compile(r"\w+")


@dataclass(slots=True)
class _Effort:
    """What comparing may still cost, in pairs of things compared: some four million take a second."""

    left: int = 4_000_000
    hunks_left: int = 10_000
    coarse: bool = field(default=False)

    def spend(self, pairs: int) -> bool:
        if pairs > self.left:
            self.coarse = True
            return False
        self.left -= pairs
        return True


_AT_ONCE: Final = 40_000
"""Pairs that are simply compared; beyond, what stands once on each side is held fast first (patience diff)."""
_AT_MOST: Final = 1_000_000
_PHRASE: Final = 8


def _hunks(before: _Section, after: _Section, effort: _Effort) -> tuple[tuple[Hunk, ...], bool]:
    """The hunks of a section, and whether they are coarse."""
    effort.coarse = False
    a, b = before.text, after.text
    found: list[tuple[int, int, int, int]] = []
    old_lines, new_lines = a.splitlines(keepends=True), b.splitlines(keepends=True)
    old_at, new_at = _starts(old_lines), _starts(new_lines)
    for i1, i2, j1, j2 in _differing(old_lines, new_lines, effort):
        start, other = old_at[i1], new_at[j1]
        old_words = _TOKEN.findall(a[start : old_at[i2]])
        new_words = _TOKEN.findall(b[other : new_at[j2]])
        old_places, new_places = _starts(old_words, start), _starts(new_words, other)
        for k1, k2, l1, l2 in _differing(old_words, new_words, effort):
            found.append((old_places[k1], old_places[k2], new_places[l1], new_places[l2]))
    joined = _joined(a, found)
    if len(joined) > effort.hunks_left:
        effort.coarse = True
        joined = [(joined[0][0], joined[-1][1], joined[0][2], joined[-1][3])]
    effort.hunks_left -= len(joined)
    hunks = tuple(_trimmed(before, after, *each) for each in joined)
    return hunks, effort.coarse


def _differing(a: Sequence[str], b: Sequence[str], effort: _Effort) -> Iterator[tuple[int, int, int, int]]:
    """In order, each run of `a` that is another one in `b`: [i1, i2) and [j1, j2)."""
    waiting = [(0, len(a), 0, len(b))]
    while waiting:
        i1, i2, j1, j2 = waiting.pop()
        while i1 < i2 and j1 < j2 and a[i1] == b[j1]:
            i1, j1 = i1 + 1, j1 + 1
        while i1 < i2 and j1 < j2 and a[i2 - 1] == b[j2 - 1]:
            i2, j2 = i2 - 1, j2 - 1
        pairs = (i2 - i1) * (j2 - j1)
        if pairs == 0:
            if i1 < i2 or j1 < j2:
                yield i1, i2, j1, j2
            continue
        fixed = _held_fast(a, b, (i1, i2, j1, j2)) if pairs > _AT_ONCE else []
        if fixed:
            edges = [(i1, j1), *((i + 1, j + 1) for i, j in fixed)]
            gaps = zip(edges, [*fixed, (i2, j2)], strict=True)
            waiting += reversed([(start[0], end[0], start[1], end[1]) for start, end in gaps])
        elif pairs <= _AT_MOST and effort.spend(pairs):
            matcher = SequenceMatcher(None, a[i1:i2], b[j1:j2], autojunk=False)
            for tag, k1, k2, l1, l2 in matcher.get_opcodes():
                if tag != "equal":
                    yield i1 + k1, i1 + k2, j1 + l1, j1 + l2
        else:
            effort.coarse = True
            yield i1, i2, j1, j2


def _held_fast(a: Sequence[str], b: Sequence[str], within: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """Places of what stands once on each side, or where nothing does, of what opens a phrase that does; in an order
    that is the same on both."""
    i1, i2, j1, j2 = within
    for length in (1, _PHRASE):
        old = [tuple(a[i : i + length]) for i in range(i1, i2 - length + 1)]
        new = [tuple(b[j : j + length]) for j in range(j1, j2 - length + 1)]
        times, new_times = Counter(old), Counter(new)
        place = {phrase: j for j, phrase in enumerate(new, start=j1) if new_times[phrase] == 1}
        once = [(i, place[each]) for i, each in enumerate(old, start=i1) if times[each] == 1 and each in place]
        if once:
            return [once[at] for at in _longest_rising([j for _, j in once])]
    return []


def _joined(a: str, found: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Neighbours with at most a sign between them as one: words between which nothing is legible are no help."""
    joined: list[tuple[int, int, int, int]] = []
    for i1, i2, j1, j2 in found:
        if joined and len(a[joined[-1][1] : i1].strip()) <= 1:
            joined[-1] = (joined[-1][0], i2, joined[-1][2], j2)
        else:
            joined.append((i1, i2, j1, j2))
    return joined


def _trimmed(before: _Section, after: _Section, i1: int, i2: int, j1: int, j2: int) -> Hunk:
    """Without the white space that opens both sides alike."""
    a, b = before.text, after.text
    while i1 < i2 and j1 < j2 and a[i1] == b[j1] and a[i1].isspace():
        i1, j1 = i1 + 1, j1 + 1
    return Hunk(
        old=Span(start=before.span.start + i1, end=before.span.start + i2),
        new=Span(start=after.span.start + j1, end=after.span.start + j2),
    )


def _starts(pieces: Sequence[str], start: int = 0) -> list[int]:
    """Where each piece begins, and where the last one ends."""
    places = [start]
    for piece in pieces:
        places.append(places[-1] + len(piece))
    return places
