"""Wrong inputs of every command are told in the user's words: what, where, what to do; and by the listed exit code."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path

import pytest
import trustme
from tests.experiments.test_cli import trunkproof

from trunkproof.experiments.cli.root import COMMANDS
from trunkproof.experiments.common.exit_codes import ExitCode

STUDY = "name: x\nduration_s: 20\ntraffic: {arrivals: {kind: poisson, rate_per_minute: 120}, holding: 1}\n"
FILES: dict[str, str | bytes] = {
    "study.yaml": STUDY,
    "empty.yaml": "",
    "binary.yaml": bytes(range(256)),
    "latin.yaml": "name: café\n".encode("latin-1"),
    "list.yaml": "- a\n- b\n",
    "half.yaml": "name: [x\n",
    "key.yaml": STUDY.replace("traffic", "trafic"),
    "negative.yaml": STUDY.replace("20", "-20").replace("120", "-120").replace("holding: 1", "holding: -1"),
    "kind.yaml": STUDY.replace("poisson", "poison"),
    "stack.yaml": STUDY + "pop: {stack: asterix}\n",
    "request.yaml": "name: small\nhistory: small.csv\nnow_per_minute: 8\nrequested_per_minute: 12\n",
    "junk.json": "{",
    "list.json": "[1, 2]",
    "empty.csv": "",
    "heads.csv": "a,b,c\n1,2,3\n",
    "junk.csv": bytes(range(256)),
    "junk.xlsx": b"PK\x03\x04junk",
    "junk.parquet": b"PAR1junk",
    "junk.csv.gz": b"\x1f\x8bjunk",
    "words.pem": "not a certificate\n",
    "cut.pem": "-----BEGIN CERTIFICATE-----\nMIIB\n",
    "other/readme.txt": "nothing of ours",
    "load/load.json": "{",
    "load/study.json": "{}",
    "validation/comparison.json": "[]",
    "validation/study.json": "{}",
    "suite/suite.json": "{}",
    "records/measured.parquet": "junk",
}
CALL = "load study.yaml --target 127.0.0.1:5061 --ca ca.pem"
FAR = "load study.yaml --target 192.0.2.1:5061 --ca ca.pem"

WRONG = {
    "plann study.yaml": "Did you mean 'plan'?",
    "plan": "Missing argument 'STUDY'",
    "plan missing.yaml": "there is no such file",
    "plan other": "it is a folder, not a file",
    "plan empty.yaml": "is empty; it needs at least `traffic:`",
    "plan binary.yaml": "is not text in UTF-8",
    "plan latin.yaml": "is not text in UTF-8",
    "plan list.yaml": "has no keys; it needs at least `traffic:`",
    "plan half.yaml": "line 2: YAML: expected ',' or ']'",
    "plan key.yaml": "line 3: trafic: unknown key; did you mean `traffic`?",
    "plan negative.yaml": "3 problems",
    "plan kind.yaml": "unknown kind `poison`; did you mean `poisson`?",
    "plan stack.yaml": "line 4: pop.stack: there is no stack `asterix`; did you mean `asterisk`?",
    "plan request.yaml": "line 2: history: unknown key",
    "plan study.yaml --seed -1": "'--seed': must be at least 0, not `-1`",
    "plan study.yaml --seed two": "'--seed': must be a whole number, not the text `two`",
    "plan study.yaml --sed 1": "--seed",
    "plan study.yaml --set seed": "--set seed: write KEY=VALUE",
    "plan study.yaml --set sed=1": "did you mean `seed`?",
    "plan study.yaml --set traffic.arrivals.rate_per_minute=-5": "must be at least 0, not `-5`",
    "plan study.yaml --set duration_s=.nan": "duration_s: must be a finite number",
    "plan study.yaml --log-level loud": "'loud' is not one of 'debug'",
    "simulate study.yaml --replications -1": "'--replications': must be at least 0",
    "simulate study.yaml --precision 7": "'--precision': must be at most 1",
    "simulate study.yaml --engine kernal": "'kernal' is not one of 'simpy', 'kernel'",
    "simulate study.yaml --out study.yaml": "study.yaml: cannot be written to",
    "new study study.yaml": "study.yaml: exists; name another file",
    "new study new.yaml --rate -3": "'--rate': must be at least 0",
    "new load new.yaml": "--host: is needed",
    "new stud new.yaml": "Did you mean 'study'?",
    "notebooks copy 1_first": "there is none of that name",
    "studies show abov": "there is none of that name; did you mean `above`?",
    "studies copy above study.yaml": "study.yaml: not written",
    "schema stude": "is no kind of file; did you mean `study`?",
    "load study.yaml": "name the trunk as HOST:PORT, or give its card with --trunk",
    "load study.yaml --trunk missing.json": "there is no such file",
    "load study.yaml --trunk junk.json": "is not JSON",
    "load study.yaml --trunk list.json": "must have keys of its own",
    "load study.yaml --target nowhere --ca ca.pem": "name the trunk as HOST:PORT",
    "load study.yaml --target 127.0.0.1:99999 --ca ca.pem": "name the trunk as HOST:PORT",
    "load study.yaml --target 127.0.0.1:5061": "--ca: is needed with --target",
    "load study.yaml --target 127.0.0.1:5061 --ca missing.pem": "cannot be read (there is no such file)",
    "load study.yaml --target 127.0.0.1:5061 --ca other": "it is a folder, not a file",
    "load study.yaml --target 127.0.0.1:5061 --ca words.pem": "is not PEM, as it has no line with -----BEGIN: convert",
    "load study.yaml --target 127.0.0.1:5061 --ca cut.pem": "holds no certificate that can be read",
    "load study.yaml --target 127.0.0.1:5061 --ca old.pem": "expired on 2020-01-02: ask the operator",
    f"{CALL} --certificate own.pem": "--key: is missing: a certificate and its key go together",
    f"{CALL} --key own.key": "--certificate: is missing",
    f"{CALL} --certificate own.pem --key missing.key": "key missing.key: cannot be read (there is no such file)",
    f"{CALL} --certificate own.pem --key other.key": "key other.key: does not belong to the first certificate",
    f"{CALL} --certificate own.pem --key own.pem": "holds no private key",
    f"{CALL} --certificate old.pem --key old.key": "certificate old.pem: expired on 2020-01-02",
    f"{CALL} --workers 0": "'--workers': must be at least 1",
    f"{CALL} --metrics kamailio": "--metrics kamailio: write NAME=URL",
    f"{CALL} --trunk missing.json": "name the trunk as HOST:PORT, or give its card",
    f"{FAR} --ceiling -1": "'--ceiling': must be at least 0",
    f"{FAR} --allow 'not a host' --ceiling inf": "--allow not a host: is no host name and no IP address",
    f"{FAR} --allow 192.0.2.0/24 --ceiling 500": "name each host by itself, without a port or a network",
    "serve study.yaml --port 70000": "'--port': must be at most 65535",
    "serve study.yaml --stack kamalio": "there is no stack `kamalio`; did you mean `kamailio`?",
    "answer study.yaml --certificate own.pem": "--key: is missing",
    "validate --out out": "STUDY: is missing",
    "validate study.yaml": "Missing option '--out'",
    "validate --suite --profile nothing --out out": "nothing: is no profile of the suite and no file",
    "calibrate --stack none --out out": "there is no stack `none`",
    "knee study.yaml --out out --quota -1": "'--quota': must be at least 0.01",
    "check study.yaml": "name the trunk as HOST:PORT",
    "check study.yaml --target 127.0.0.1:5061 --ca words.pem": "is not PEM",
    "identify records": "not a readable record table",
    "identify study.yaml --target 127.0.0.1:5061 --ca ca.pem --name trunc": "did you mean `trunk`?",
    "report missing": "does not exist: name the folder that was given to --out",
    "report study.yaml": "is a file: name the folder that was given to --out",
    "report other": "holds no result, as there is no study.json in it",
    "report load": "holds no load test that can be read",
    "report validation": "holds no validation that can be read",
    "report suite": "holds no suite that can be read",
    "compare other missing": "missing: folder: does not exist",
    "bundle missing --out bundle.zip": "does not exist",
    "bundle other --out bundle.zip": "holds no result",
    "review missing.yaml --out out": "there is no such file",
    "review study.yaml --out out": "history: is missing",
    "review request.yaml --out out": "line 2: history: small.csv: there is no such file",
    "review request.yaml --out out --workers 0": "'--workers': must be at least 1",
    "review score request.yaml --decision junk.json --history heads.csv": "cannot be read (line 1 is not JSON)",
    "review score request.yaml --decision missing.json --history heads.csv": "there is no such file",
    "history study.yaml --out history.csv": "hourly_per_minute: is missing",
    "history inspect missing.csv": "there is no such file",
    "history inspect empty.csv": "is empty",
    "history inspect heads.csv": "not recognised: there are `a`, `b`, `c`",
    "history inspect junk.csv": "is no text",
    "history inspect junk.xlsx": "is a damaged ZIP archive or Excel workbook",
    "history inspect junk.parquet": "is a damaged Parquet file",
    "history inspect junk.csv.gz": "damaged gzip",
    "history inspect heads.csv --timezone Asia/Calcuta": "did you mean `Asia/Calcutta`?",
    "version --number": "No such option: --number",
}
"""Command line -> what is said of it."""
OTHER_CODES = {
    FAR: (ExitCode.GUARD, "name it on the allow list (192.0.2.1) and confirm a ceiling of at least"),
    f"{FAR} --allow 192.0.2.1": (ExitCode.GUARD, "confirm a ceiling of at least"),
    "load study.yaml --target in.voip.exotel.com:443 --ca ca.pem": (ExitCode.GUARD, "is the operator's production"),
    "review request.yaml --out out --cluster nowhere": (ExitCode.NO_TRUNK, "no Dask scheduler answers at nowhere"),
}
PYTHON_WORDS = (
    *("Traceback", "<class", "NoneType", "Errno", "Exception", "Error(", "_ssl.c", "Value error", "Input should"),
    *("pydantic", "polars", "codec", "object at", "PosixPath", "tuple", "dict", "Field required", "parse string"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all these files, and with certificates."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    past = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    for name, until in (("own", None), ("other", None), ("old", past)):
        issued = authority.issue_cert("pbx.test", not_before=until and until.replace(year=2019), not_after=until)
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
    return folder


def test_there_are_wrong_inputs_of_every_command() -> None:
    assert {line.split()[0] for line in WRONG} >= set(COMMANDS)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        *((line, ExitCode.WRONG_INPUT, words) for line, words in WRONG.items()),
        *((line, code, words) for line, (code, words) in OTHER_CODES.items()),
    ],
)
def test_a_wrong_input_is_told_in_the_users_words(line: str, code: ExitCode, words: str, folder: Path) -> None:
    told = trunkproof(*shlex.split(line), cwd=folder)
    assert words in told.stderr
    assert told.returncode == code
    assert told.stdout == ""
    assert not [word for word in PYTHON_WORDS if word in told.stderr]
