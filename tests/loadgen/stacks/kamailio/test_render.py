"""What the study says stands in the configuration, read without any program."""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable
from typing import Any

import pytest

from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.stacks.kamailio.internal import Internal
from trunkproof.loadgen.stacks.kamailio.render import FILES, render
from trunkproof.models.study import Study

INTERNAL = Internal(rtpengine_ng=21001, rtpengine_http=21002, kamailio_http=21003)


@pytest.fixture
def rendered(endpoints_for: Callable[[Study], StackEndpoints]) -> Callable[[Study], dict[str, str]]:
    return lambda study: render(study, endpoints_for(study), INTERNAL)


def _routes(configuration: str) -> dict[str, str]:
    parts = re.split(r"^(?:route\[(\w+)\]|request_route) \{$", configuration, flags=re.MULTILINE)
    return {name or "request": body for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_file_is_rendered_and_nothing_is_left_of_the_template(
    rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study]
) -> None:
    files = rendered(study_of())
    assert set(files) == set(FILES)
    assert not any("{{" in text or "{%" in text for text in files.values())


def test_the_listeners_are_where_the_places_say(
    endpoints_for: Callable[[Study], StackEndpoints], study_of: Callable[..., Study]
) -> None:
    study = study_of()
    endpoints = endpoints_for(study)
    configuration = render(study, endpoints, INTERNAL)["kamailio.cfg"]
    assert re.findall(r"^listen=(\S+)", configuration, re.MULTILINE) == [
        f"tls:127.0.41.1:{endpoints.edge_port}",
        f"tls:127.0.41.2:{endpoints.inner_port}",
        "tcp:127.0.41.2:21003",
    ]
    assert f'$du = "sip:127.0.41.3:{endpoints.carrier_port};transport=tls";' in configuration
    assert '"udp:127.0.41.2:21001"' in configuration


def test_who_may_call_is_each_trunks_whitelist_or_its_own_address(
    rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    study = study_of(trunk_of(1), trunk_of(2, whitelist=["10.1.0.0/16", "127.0.40.2/32"]))
    lines = rendered(study)["address.list"].splitlines()
    assert lines == ["1 127.0.40.1 32 0 trunk-1", "2 10.1.0.0 16 0 trunk-2", "2 127.0.40.2 32 0 trunk-2"]


def test_each_trunk_has_its_own_throttle(
    rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    study = study_of(
        trunk_of(1, throttle={"policy": "fixed_window", "limit": 123, "window_s": 2.5}),
        trunk_of(2, throttle={"policy": "token_bucket", "limit": 7, "window_s": 3, "burst": 2}),
        trunk_of(3, throttle={"policy": "pipelimit", "limit": 45, "window_s": 30, "algorithm": "red"}),
        trunk_of(4, throttle={"policy": "none"}),
    )
    configuration = rendered(study)["kamailio.cfg"]
    routes = _routes(configuration)
    assert "/ 2500;" in routes["THROTTLE_1"]
    assert ">= 123)" in routes["THROTTLE_1"]
    assert "* 428571 +" in routes["THROTTLE_2"]  # 3 s / 7 = 428571 us and 3/7
    assert "* 3 + 6) / 7" in routes["THROTTLE_2"]
    assert 'pl_check("trunk-3", "RED", "45")' in routes["THROTTLE_3"]
    assert routes["THROTTLE_4"].split("}")[0].strip() == "$var(admitted) = 1;"
    assert 'modparam("pipelimit", "timer_interval", 30)' in configuration
    assert [f"route(THROTTLE_{n});" in routes[f"OUTBOUND_{n}"] for n in (1, 2, 3, 4)] == [True] * 4


def test_inbound_calls_are_throttled_where_both_directions_count(
    rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    throttle = {"policy": "fixed_window", "counts": "outbound"}
    routes = _routes(rendered(study_of(trunk_of(1), trunk_of(2, throttle=throttle)))["kamailio.cfg"])
    assert "route(THROTTLE_1);" in routes["INBOUND_1"]
    assert "THROTTLE" not in routes["INBOUND_2"]


def test_refusals_carry_status_reason_and_retry_after(
    rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    throttle = {"policy": "fixed_window", "refusal_status": 480, "retry_after_s": None}
    routes = _routes(rendered(study_of(trunk_of(1), trunk_of(2, throttle=throttle)))["kamailio.cfg"])
    assert [routes["OUTBOUND_1"].count(f'append_to_reply("Reason: Q.850;cause={n}\\r\\n")') for n in (57, 42, 47)] == [
        1,
        1,
        1,
    ]
    assert re.findall(r'sl_send_reply\("(\d+)", "([^"]+)"\)', routes["OUTBOUND_1"]) == [
        ("403", "Forbidden"),
        ("503", "Service Unavailable"),
        ("488", "Not Acceptable Here"),
        ("503", "Service Unavailable"),
    ]
    assert 'sl_send_reply("480", ' in routes["OUTBOUND_2"]
    assert "Retry-After: 10" in routes["OUTBOUND_1"]
    assert "Retry-After" not in routes["OUTBOUND_2"]


@pytest.mark.parametrize(("media", "profile"), [("rtp", "RTP/AVP "), ("srtp", "RTP/SAVP ")])
def test_the_carriers_side_is_plain_or_encrypted(
    media: str, profile: str, rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study]
) -> None:
    configuration = rendered(study_of(carrier={"media": media}))["kamailio.cfg"]
    flags = re.findall(r'rtpengine_offer\("([^"]+)"\)', configuration)
    to_carrier = [flag for flag in flags if flag.endswith("direction=outside direction=inside")]
    to_customer = [flag for flag in flags if flag.endswith("direction=inside direction=outside")]
    assert len(to_carrier) == len(to_customer) == 2
    assert all(profile in flag for flag in to_carrier)
    assert all("RTP/SAVP " in flag for flag in to_customer)


@pytest.mark.parametrize(("legs", "inside"), [(1, "127.0.41.2"), (2, "127.0.41.1")])
def test_both_legs_share_a_range_where_a_call_takes_two_pairs(
    legs: int, inside: str, rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study]
) -> None:
    study = study_of(ports={"low": 21101, "high": 21110, "legs": legs, "quarantine_s": 3})
    parser = configparser.ConfigParser()
    parser.read_string(rendered(study)["rtpengine.conf"])
    values = parser["rtpengine"]
    assert values["interface"] == f"outside/127.0.41.1;inside/{inside}"
    assert (values["port-min"], values["port-max"]) == ("21102", "21109")
    assert values["delete-delay"] == "3"


def test_the_machine_says_how_many_work(
    rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    files = rendered(study_of(machine={"cores": 3}))
    assert "tcp_children=3\n" in files["kamailio.cfg"]
    assert "num-threads = 3\n" in files["rtpengine.conf"]


def test_customers_that_resume_sessions_are_served_by_one_process(
    rendered: Callable[[Study], dict[str, str]], study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    trunk = trunk_of()
    trunk["traffic"] = {**trunk["traffic"], "tls": {"policy": "per_call", "resumption_share": 0.5}}
    assert "tcp_children=1\n" in rendered(study_of(trunk, machine={"cores": 3}))["kamailio.cfg"]


def test_certificates_are_those_of_the_places(
    endpoints_for: Callable[[Study], StackEndpoints], study_of: Callable[..., Study]
) -> None:
    study = study_of()
    endpoints = endpoints_for(study)
    parser = configparser.ConfigParser()
    parser.read_string(render(study, endpoints, INTERNAL)["tls.cfg"])
    assert parser["server:default"]["certificate"] == str(endpoints.certificate.cert_chain_pem)
    assert parser["server:default"]["private_key"] == str(endpoints.certificate.key_pem)
    assert parser["client:default"]["ca_list"] == str(endpoints.ca_file)
    assert parser["client:default"]["verify_certificate"] == "yes"


def test_a_name_cannot_break_out_of_its_comment(
    endpoints_for: Callable[[Study], StackEndpoints], study_of: Callable[..., Study]
) -> None:
    study = study_of().model_copy(update={"name": "two\nlisten=udp:0.0.0.0:5060"})
    assert "\nlisten=udp" not in render(study, endpoints_for(study), INTERNAL)["kamailio.cfg"]
