"""Recognise the form of a call history: which column says what, by its headings or, without headings, by its values.

This module finds columns only. `models.demand.history.extraction` reads what is in them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace

from trunkproof.models.demand.history.opened import Opened
from trunkproof.models.demand.history.records import bare
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.shapes import layout_by_shape
from trunkproof.models.errors import InputError, Problem


@dataclass(frozen=True)
class Layout:
    """Which column says what."""

    format: str
    columns: dict[str, str]
    """Role -> column of the file."""
    owners: tuple[str, ...] = ()
    """Columns that say whose call it is: account, trunk or customer."""
    recorder: str | None = None
    """The column that says which host noted the call."""

    @property
    def is_of_counts(self) -> bool:
        """Return whether a row is an interval with its count of calls, not a call."""
        return "calls" in self.columns


@dataclass(frozen=True, eq=False)
class Part:
    """One file of a history."""

    opened: Opened
    layout: Layout


@dataclass(frozen=True)
class Form:
    """One form with headings, written in lower case and without punctuation."""

    name: str
    headings: dict[str, str]
    """Role -> its possible headings. The first one that the file has is taken."""
    needs: tuple[str, ...]
    """Roles that the file must have to be of this form."""
    marks: tuple[str, ...] = field(default=())
    """Roles of which the file must have at least one. They tell this form from others."""


FORMS = (
    Form(
        "kamailio",
        {
            "start": "time calltime",
            "method": "method",
            "id": "callid sipcallid",
            "code": "sipcode",
            "caller": "srcuser fromuser caller fromuri",
            "callee": "dstuser dstouser touser callee ruri",
        },
        needs=("start", "method", "id", "code"),
    ),
    Form(
        "freeswitch",
        {
            "start": "startstamp startuepoch startepoch",
            "answered": "answerstamp answeruepoch answerepoch",
            "end": "endstamp enduepoch endepoch",
            "duration_s": "duration",
            "holding_s": "billsec",
            "status": "hangupcause",
            "code": "siptermstatus sipinvitefailurestatus",
            "caller": "calleridnumber",
            "callee": "destinationnumber",
            "direction": "direction",
            "context": "context",
            "id": "uuid",
            "leg": "bleguuid",
        },
        needs=("start", "status"),
    ),
    Form(
        "asterisk",
        {
            "start": "start calldate startdate starttime",
            "answered": "answer answerdate",
            "end": "end enddate",
            "duration_s": "duration",
            "holding_s": "billsec",
            "status": "disposition",
            "caller": "src",
            "callee": "dst",
            "context": "dcontext",
            "id": "uniqueid",
            "channel": "channel",
            "dstchannel": "dstchannel",
            "lastdata": "lastdata",
        },
        needs=("start", "status"),
    ),
    Form(
        # Its documentation: a call is placed at DateCreated and answered at StartTime.
        "operator",
        {
            "start": "datecreated",
            "answered": "starttime",
            "end": "endtime",
            "duration_s": "duration",
            "holding_s": "conversationduration",
            "status": "status",
            "caller": "from",
            "callee": "to",
            "direction": "direction",
            "id": "callsid sid",
        },
        needs=("start", "answered", "status"),
    ),
    Form(
        # An older form, and that of others like it, in which a call has no other beginning than StartTime.
        "operator",
        {
            "start": "starttime datecreated",
            "end": "endtime",
            "answered": "answertime answeredtime",
            "duration_s": "duration callduration totalduration",
            "holding_s": "conversationduration talktime",
            "status": "status callstatus",
            "code": "sipcode sipstatus",
            "caller": "from fromnumber caller",
            "callee": "to tonumber callee",
            "direction": "direction",
            "id": "sid callsid",
        },
        needs=("start", "status"),
        marks=("id", "direction"),
    ),
    Form(
        "counts",
        {
            "start": "start time interval startlocal timestamp datetime hour startutc",
            "calls": "calls attempts count offered",
            "refused": "refused rejected blocked",
            "date": "date day",
        },
        needs=("start", "calls"),
    ),
)
STARTS = frozenset(heading for form in FORMS for heading in form.headings["start"].split())
"""All headings of a start, of any form."""
_RECORDERS = frozenset(
    {"host", "hostname", "server", "servername", "node", "nodename", "switchname", "systemname", "recorder"}
)
"""Headings of columns that say which host recorded a call. Each host has a clock of its own."""
_OWNERS = frozenset(
    {
        *("account", "accountsid", "accountid", "accountcode", "accountname"),
        *("trunk", "trunksid", "trunkid", "trunkname", "domainname"),
        *("customer", "customerid", "customername", "client", "clientid", "clientname"),
        *("tenant", "tenantid", "tenantname", "organisation", "organization", "companyid", "companyname"),
    }
)
"""Headings of columns that say whose call it is. A throttle belongs to one trunk, so a history should too."""


def layout(opened: Opened, settings: HistorySettings) -> Layout:
    """Return which column of the file says what.

    Raises:
        InputError: the file is in no known form, or lacks columns that the request names. Lists those that it has.
    """
    if settings.columns is not None and settings.format in {"auto", "columns", "counts"}:
        found: Layout | None = _by_settings(opened, settings)
    elif settings.format == "columns":
        raise InputError(opened.name, [Problem(where="history.columns", what="must name the columns")])
    else:
        found = _by_heading(opened, settings) if opened.has_heading else _by_shape(opened)
    if found is None or (settings.columns is None and settings.format not in {"auto", found.format}):
        raise InputError(opened.name, _unrecognised(opened, settings, found))
    if not opened.has_heading:
        return found
    taken = set(found.columns.values())
    owners = tuple(name for name in opened.columns if bare(name) in _OWNERS and name not in taken)
    recorder = next((name for name in opened.columns if bare(name) in _RECORDERS and name not in taken), None)
    return replace(found, owners=owners, recorder=recorder)


def _by_shape(opened: Opened) -> Layout | None:
    found = layout_by_shape(opened.sample)
    if found is None:
        return None
    form, columns = found
    owner = columns.pop("owner", None)
    return Layout(form, columns, owners=(owner,) if owner else ())


def _by_settings(opened: Opened, settings: HistorySettings) -> Layout:
    assert settings.columns is not None
    wanted = {role: name for role, name in settings.columns.model_dump().items() if name is not None}
    exact = {name.lower(): name for name in reversed(opened.columns)}
    missing = {role: name for role, name in wanted.items() if name not in opened.columns and name.lower() not in exact}
    problems = [
        Problem(where=f"history.columns.{role}", what=no_column(name, opened)) for role, name in missing.items()
    ]
    if settings.format == "counts" and "calls" not in wanted:
        problems.append(Problem(where="history.columns.calls", what="a history of counts needs it"))
    problems += _twice(wanted)
    if problems:
        raise InputError(opened.name, problems)
    columns = {role: name if name in opened.columns else exact[name.lower()] for role, name in wanted.items()}
    return Layout("counts" if "calls" in columns else "columns", columns)


def _twice(wanted: dict[str, str]) -> list[Problem]:
    roles: dict[str, list[str]] = {}
    for role, name in wanted.items():
        roles.setdefault(name, []).append(role)
    return [
        Problem(where=f"history.columns.{names[-1]}", what=f"is the same column as `{names[0]}`")
        for names in roles.values()
        if len(names) > 1
    ]


def no_column(name: str, opened: Opened) -> str:
    """Return the message for a column that the request names and the file does not have."""
    near = difflib.get_close_matches(name.lower(), [column.lower() for column in opened.columns], n=1, cutoff=0.5)
    by_lower = {column.lower(): column for column in opened.columns}
    hint = f"did you mean `{by_lower[near[0]]}`?" if near else f"there are {_listed(opened)}"
    return f"the file has no column `{name}`; {hint}"


def _listed(opened: Opened) -> str:
    if not opened.has_heading:
        return f"`column 1` to `column {len(opened.columns)}`: the file has no heading"
    shown = ", ".join(f"`{name}`" for name in opened.columns[:30])
    return shown + (f" and {len(opened.columns) - 30} more" if len(opened.columns) > 30 else "")


def _by_heading(opened: Opened, settings: HistorySettings) -> Layout | None:
    forms = [form for form in FORMS if settings.format in {"auto", form.name}]
    for form in forms:
        columns = _matched(form, opened.columns)
        if all(role in columns for role in form.needs) and (
            not form.marks or any(role in columns for role in form.marks)
        ):
            return Layout(form.name, columns)
    return None


def _matched(form: Form, names: tuple[str, ...]) -> dict[str, str]:
    plain = {bare(name): name for name in reversed(names)}
    found: dict[str, str] = {}
    for role, headings in form.headings.items():
        column = next((plain[heading] for heading in headings.split() if heading in plain), None)
        if column is not None:
            found[role] = column
    return found


def _unrecognised(opened: Opened, settings: HistorySettings, found: Layout | None) -> list[Problem]:
    saw = _listed(opened) if opened.has_heading else f"{len(opened.columns)} columns without a heading"
    how = "set `history.columns` (`start`, and as many as there are of `end`, `answered`, `duration_s`, `holding_s`, "
    how += "`status`, `code`, `caller`, `callee`, `direction`; for counts `start` and `calls`)"
    if not opened.has_heading:
        how += "; columns without a heading are called `column 1`, `column 2`, ..."
    if settings.format == "auto":
        return [Problem(where="history.format", what=f"not recognised: there are {saw}; {how}")]
    if found is not None:
        looks = f"looks like `{found.format}`, not `{settings.format}`"
        return [Problem(where="history.format", what=f"{looks}: there are {saw}; set it to `auto`, or {how}")]
    form = [form for form in FORMS if form.name == settings.format][-1]
    columns = _matched(form, opened.columns)
    lacking = [role for role in form.needs if role not in columns] if opened.has_heading else list(form.needs)
    problems = [
        Problem(where="history.format", what=f"a history of `{form.name}` has a column for `{role}`, here is none")
        for role in lacking
    ]
    return [*problems, Problem(where="history.columns", what=f"there are {saw}; {how}")]
