#!/usr/bin/env python3
"""oracle.py - makes oracle.txt: when schedules fire, found out by brute force, for oracle_spec.lua.

Nothing of it is shared with the C code. Zones are those of Python's zoneinfo. An expression is tried at every minute of
the wall, one after the other; a minute that matches is turned into instants by PEP 495 (fold 0 and 1, and back again,
which tells whether the local time exists, once or twice), and the rules for gaps and repeated times are applied to each
minute by itself.

    python3 spec/calendar/oracle.py >spec/calendar/oracle.txt

takes some minutes. SEED=n gives other random cases.
"""
import datetime
import os
import random
import sys
import zoneinfo

ROOT = "/usr/share/zoneinfo"
EPOCH = datetime.datetime(1970, 1, 1)
DAY = datetime.timedelta(days=1)
MASK = (1 << 64) - 1
SEED = int(os.environ.get("SEED", "2027"))
CASES = int(os.environ.get("CASES", "10000"))
SEARCH_DAYS = 45
RULES = [("next", "first"), ("shift", "last"), ("skip", "both")]
REFUSED = {"CET", "EET", "MET", "WET", "EST", "MST", "HST", "EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "localtime"}


def seconds(when):
    return (when - EPOCH) // datetime.timedelta(seconds=1)


# ---- zones -----------------------------------------------------------------------------------------------------------

class Zone:
    def __init__(self, name):
        self.name = name
        self.info = zoneinfo.ZoneInfo(name)
        self.known = {}

    def offset(self, instant):
        aware = datetime.datetime.fromtimestamp(instant, datetime.timezone.utc).astimezone(self.info)
        return aware.utcoffset() // datetime.timedelta(seconds=1)

    def resolve(self, local):
        """The instants of a local time; and for one that does not exist, the end of the gap and the shifted instant."""
        found = self.known.get(local)
        if found is None:
            found = self.known[local] = self.search(local)
        return found

    def search(self, local):
        offsets = [local.replace(tzinfo=self.info, fold=fold).utcoffset() // datetime.timedelta(seconds=1)
                   for fold in (0, 1)]
        instants = [seconds(local) - offset for offset in offsets]
        if offsets[0] == offsets[1]:
            return instants[:1], None, None
        real = sorted({at for at in instants if at + self.offset(at) == seconds(local)})
        if real:
            return real, None, None
        at = min(instants) // 60 * 60
        before = self.offset(at)
        while self.offset(at) == before:
            at += 60
        return [], at, seconds(local) - before

    def transitions(self, begin, end):
        """Instants at which the offset changes, by steps of six hours and bisection."""
        at, offset = begin, self.offset(begin)
        while at < end:
            following = at + 6 * 3600
            if self.offset(following) != offset:
                low, high = at, following
                while high - low > 1:
                    middle = (low + high) // 2
                    if self.offset(middle) == offset:
                        low = middle
                    else:
                        high = middle
                yield high, offset, self.offset(high)
                offset = self.offset(following)
            at = following


def fires_of(zone, local, elapsed, gap, fold):
    real, gap_end, shifted = zone.resolve(local)
    if elapsed:
        return real
    if real:
        return real if fold == "both" else real[:1] if fold == "first" else real[-1:]
    return [gap_end] if gap == "next" else [shifted] if gap == "shift" else []


# ---- expressions -----------------------------------------------------------------------------------------------------

MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
WEEKDAYS = "SUN MON TUE WED THU FRI SAT".split()


def number(text, names, first):
    return names.index(text.upper()) + first if text.upper() in names else int(text)


def in_range(text, value, low, high, names=()):
    """Whether the value is in one item of a field."""
    body, _, step = text.partition("/")
    step = int(step or 1)
    if body == "*":
        begin, end = low, high
    else:
        words = body.split("-")
        begin = number(words[0], names, low)
        end = number(words[1], names, low) if len(words) > 1 else high if "/" in text else begin
    size = high - low + 1
    if names is WEEKDAYS and begin == 7:
        begin, end = 0, end % 7 if len(body.split("-")) > 1 or "/" not in text else end
    at = begin
    last = end if end >= begin else end + size
    while at <= last:
        if low + (at - low) % size == value:
            return True
        at += step
    return False


def simple(field, value, low, high, names=()):
    return any(in_range(item, value, low, high, names) for item in field.split(","))


def month_end(date):
    following = date.replace(day=28) + datetime.timedelta(days=4)
    return following - datetime.timedelta(days=following.day)


def is_workday(date):
    return date.isoweekday() <= 5


def nearest_workday(date):
    """By trying the days around it, those of the same month."""
    for distance in range(0, 3):
        for candidate in (date - distance * DAY, date + distance * DAY):
            if candidate.month == date.month and is_workday(candidate):
                return candidate
    return None


def last_workday(date):
    at = month_end(date)
    while not is_workday(at):
        at -= DAY
    return at


def day_matches(item, date):
    if item == "L":
        return date == month_end(date)
    if item == "LW":
        return date == last_workday(date)
    if item.startswith("L-"):
        return date == month_end(date) - int(item[2:]) * DAY
    if item.endswith("W"):
        day = int(item[:-1])
        return day <= month_end(date).day and date == nearest_workday(date.replace(day=day))
    return in_range(item, date.day, 1, 31)


def weekday_matches(item, date):
    weekday = date.isoweekday() % 7
    if item.upper() != "*" and item.endswith("L"):
        return number(item[:-1], WEEKDAYS, 0) % 7 == weekday and (date + 7 * DAY).month != date.month
    if "#" in item:
        name, nth = item.split("#")
        return number(name, WEEKDAYS, 0) % 7 == weekday and (date.day + 6) // 7 == int(nth)
    return in_range(item, weekday, 0, 6, WEEKDAYS)


class Expression:
    def __init__(self, text, both=False, excludes=False):
        fields = text.split()
        self.seconds = list(range(60)) if excludes else [0]
        if len(fields) == 6:
            self.seconds = [second for second in range(60) if simple(fields[0], second, 0, 59)]
            fields = fields[1:]
        minute, hour, self.day, self.month, self.weekday = fields
        self.minutes = {n for n in range(60) if simple(minute, n, 0, 59)}
        self.hours = {n for n in range(24) if simple(hour, n, 0, 23)}
        self.elapsed = hour == "*" or hour.startswith("*/") and hour[2:].isdigit()
        self.both = both
        self.days = {}

    def on_day(self, date):
        known = self.days.get(date)
        if known is None:
            known = self.days[date] = self.try_day(date)
        return known

    def try_day(self, date):
        if not simple(self.month, date.month, 1, 12, MONTHS):
            return False
        any_day, any_weekday = self.day in "*?", self.weekday in "*?"
        day = any_day or any(day_matches(item, date) for item in self.day.split(","))
        weekday = any_weekday or any(weekday_matches(item, date) for item in self.weekday.split(","))
        if any_day or any_weekday or self.both:
            return day and weekday
        return day or weekday

    def matches(self, minute):
        return minute // 60 in self.hours and minute % 60 in self.minutes


def search(zone, expressions, exclusions, gap, fold, start, wanted):
    """The first fires after the instant, by trying every minute of the wall of every day from two days before it."""
    midnight = EPOCH + datetime.timedelta(days=start // 86400 - 2)
    found, enough = set(), SEARCH_DAYS + 4
    for day in range(SEARCH_DAYS + 4):
        if day > enough:
            break
        today = midnight + day * DAY
        active = [expression for expression in expressions if expression.on_day(today.date())]
        absent = [exclusion for exclusion in exclusions if exclusion.on_day(today.date())]
        for minute in range(1440) if active else ():
            for expression in active:
                if not expression.matches(minute):
                    continue
                for second in expression.seconds:
                    if any(other.matches(minute) and second in other.seconds for other in absent):
                        continue
                    meant = today + datetime.timedelta(seconds=minute * 60 + second)
                    if seconds(meant) < start - 40 * 3600:
                        continue
                    found.update(at for at in fires_of(zone, meant, expression.elapsed, gap, fold) if at > start)
        if len(found) >= wanted:
            enough = min(enough, day + 2)
    return sorted(found)[:wanted]


# ---- what is written -------------------------------------------------------------------------------------------------

class Digest:
    def __init__(self):
        self.value, self.count = 0xCBF29CE484222325, 0

    def add(self, number):
        self.value = ((self.value ^ (number & MASK)) * 0x100000001B3) & MASK

    def text(self):
        return "%d:%016x" % (self.count, self.value)


def names():
    for name in sorted(zoneinfo.available_timezones()):
        if name not in REFUSED and name[0].isupper() and os.path.isfile(os.path.join(ROOT, name)):
            yield name


BEGIN = seconds(datetime.datetime(2000, 1, 1))
END = seconds(datetime.datetime(2041, 1, 1))
MINUTES = (0, 30, 59)


def hours_around(at, before, after):
    """Local hours from two before the change, by the clock before or after it, to two behind it."""
    low, high = at + min(before, after) - 2 * 3600, at + max(before, after) + 2 * 3600
    return sorted({local // 3600 % 24 for local in range(low, high + 1, 3600)})


def around(zone, at, before, after, gap, fold, digest):
    """Fires of `minute hour * * *` for each of these hours, and of `minute * * * *` (which no rule concerns: by the first
    one only), in the 36 hours before and after."""
    begin, end = at - 36 * 3600, at + 36 * 3600
    first = EPOCH + datetime.timedelta(days=begin // 86400 - 2)
    days = [first + n * DAY for n in range(8)]
    elapsed = [-1] if gap == "next" else []
    for minute in MINUTES:
        for hour in hours_around(at, before, after) + elapsed:
            hours = [hour] if hour >= 0 else range(24)
            fires = set()
            for day in days:
                for one in hours:
                    local = day.replace(hour=one, minute=minute)
                    fires.update(fires_of(zone, local, hour < 0, gap, fold))
            inside = sorted(fire for fire in fires if begin < fire <= end)
            digest.count += len(inside)
            digest.add(len(inside))
            for fire in inside:
                digest.add(fire)


def content_of(name):
    with open(os.path.join(ROOT, name), "rb") as file:
        return file.read()


def write_zones(out):
    """Also returns the changes of each file's zone."""
    known, changes = {}, {}
    for name in names():
        content = content_of(name)
        if content not in known:
            zone = Zone(name)
            transitions = changes[content] = list(zone.transitions(BEGIN, END))
            table = Digest()
            for at, before, after in transitions:
                table.count += 1
                for value in (at, before, after):
                    table.add(value)
            digests = [Digest() for _ in RULES]
            for at, before, after in transitions:
                for (gap, fold), digest in zip(RULES, digests):
                    around(zone, at, before, after, gap, fold, digest)
                zone.known.clear()
            known[content] = " ".join([table.text()] + [digest.text() for digest in digests])
        out.write("zone %s %s\n" % (name, known[content]))
    return changes


# ---- random cases ----------------------------------------------------------------------------------------------------

def random_item(rng, low, high):
    kind = rng.random()
    one, other = rng.randint(low, high), rng.randint(low, high)
    if kind < 0.55:
        return str(one)
    if kind < 0.75:
        return "%d-%d" % (one, other)
    if kind < 0.85:
        return "%d-%d/%d" % (one, other, rng.randint(1, 7))
    if kind < 0.95:
        return "*/%d" % rng.randint(1, high - low + 1)
    return "%d/%d" % (one, rng.randint(1, high - low + 1))


def random_field(rng, low, high, star):
    if rng.random() < star:
        return "*"
    return ",".join(random_item(rng, low, high) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def random_day(rng):
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(("*", "*", "*", "?"))
    if kind < 0.8:
        return random_field(rng, 1, 31, 0)
    special = rng.choice(("L", "LW", "L-%d" % rng.randint(1, 30), "%dW" % rng.randint(1, 31)))
    return special if rng.random() < 0.7 else special + ",%d" % rng.randint(1, 31)


def random_weekday(rng):
    kind = rng.random()
    if kind < 0.55:
        return rng.choice(("*", "*", "*", "?"))
    one, other = rng.choice(WEEKDAYS + list("01234567")), rng.choice(WEEKDAYS + list("0123456"))
    if kind < 0.7:
        return one
    if kind < 0.8:
        return "%s-%s" % (rng.choice(WEEKDAYS), rng.choice(WEEKDAYS).lower())
    if kind < 0.87:
        return "%d-%d/%d" % (rng.randint(0, 6), rng.randint(0, 6), rng.randint(1, 3))
    if kind < 0.94:
        return "%s#%d" % (one, rng.randint(1, 5))
    return "%sL,%s" % (one, other)


def random_expression(rng):
    month = "*" if rng.random() < 0.85 else rng.choice(MONTHS) + "-" + rng.choice(MONTHS)
    fields = [random_field(rng, 0, 59, 0.1), random_field(rng, 0, 23, 0.25), random_day(rng), month,
              random_weekday(rng)]
    if rng.random() < 0.1:
        fields.insert(0, random_field(rng, 0, 59, 0))
    return " ".join(fields)


def can_fire(expression):
    date = datetime.date(2000, 1, 1)
    return any(expression.try_day(date + n * DAY) for n in range(0, 28 * 366))


def random_start(rng, transitions):
    if transitions and rng.random() < 0.6:
        at = rng.choice(transitions)[0]
        return at + rng.randint(-30 * 3600, 6 * 3600)
    return rng.randint(BEGIN, END)


def write_cases(out, changes):
    rng = random.Random(SEED)
    everything = list(names())
    zones = {}
    for _ in range(CASES):
        name = rng.choice(everything)
        if name not in zones:
            zones[name] = Zone(name)
        zone = zones[name]
        zone.known.clear()
        gap, fold = rng.choice(("next", "shift", "skip")), rng.choice(("first", "last", "both"))
        both = rng.random() < 0.2
        texts, excluded = [], []
        while len(texts) < (2 if rng.random() < 0.1 else 1):
            text = random_expression(rng)
            if can_fire(Expression(text, both)):
                texts.append(text)
        if rng.random() < 0.1:
            excluded.append("* %d-%d * * *" % (rng.randint(0, 11), rng.randint(6, 12)))
        start = random_start(rng, changes[content_of(name)])
        found = search(zone, [Expression(text, both) for text in texts],
                       [Expression(text, both, True) for text in excluded], gap, fold, start, 3)
        out.write("case %s|%s|%s|%s %s %s|%d|%s\n" % (
            name, ";".join(texts), ";".join(excluded), gap, fold, "both" if both else "either", start,
            " ".join(str(at - start) for at in found)))


def main():
    with open(os.path.join(ROOT, "tzdata.zi"), encoding="ascii") as file:
        version = file.readline().split()[-1]
    out = sys.stdout
    out.write("# oracle.txt - when schedules fire, by the brute force of oracle.py; read by oracle_spec.lua.\n")
    out.write("# tzdata %s, seed %d\n" % (version, SEED))
    out.write("# zone NAME, then COUNT:DIGEST of its changes 2000 to 2040 (instant, offset before and after), and of the\n"
              "# fires around them by each of the rules next/first, shift/last, skip/both; FNV-1a over 64-bit numbers\n")
    out.write("# case ZONE|EXPRESSIONS|EXCLUDED|GAP FOLD DAY-AND-WEEKDAY|START|first three fires, in seconds from the start;\n"
              "# fewer: there are no more in the %d days after it\n" % SEARCH_DAYS)
    write_cases(out, write_zones(out))


main()
