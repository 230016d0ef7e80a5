import pytest

from trunkproof.models.edges import Edge, EdgeDown
from trunkproof.models.errors import InputError
from trunkproof.models.study_file import parse_study

TRAFFIC = "traffic: {arrivals: {kind: poisson, rate_per_minute: 60}, holding: {kind: constant, value_s: 5}}\n"
TWO = "[{host: a.example, priority: 1, weight: 2}, {host: b.example, port: 5061, priority: 2}]"


def test_a_study_without_edges_has_the_one_of_its_pop() -> None:
    pop = parse_study("pop: {host: one.example, port: 5443, address: 127.0.3.1}\n" + TRAFFIC).pop

    (only,) = pop.doors
    assert (only.host, only.port, str(only.address)) == ("one.example", 5443, "127.0.3.1")


def test_edges_are_read_with_priority_and_weight() -> None:
    pop = parse_study(f"pop: {{edges: {TWO}}}\n" + TRAFFIC).pop

    assert pop.doors == (Edge(host="a.example", weight=2), Edge(host="b.example", port=5061, priority=2))


@pytest.mark.parametrize(("named", "index"), [("1", 1), ("b.example", 1), ("a.example", 0)])
def test_an_incident_names_an_edge_by_its_place_or_host(named: str, index: int) -> None:
    down = f"{{kind: edge_down, at_s: 1, lasts_s: 2, edge: {named}}}"
    pop = parse_study(f"pop: {{edges: {TWO}, incidents: [{down}]}}\n" + TRAFFIC).pop

    (incident,) = pop.incidents
    assert isinstance(incident, EdgeDown)
    assert pop.edge_of(incident) == index


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (f"edges: {TWO}, incidents: [{{kind: edge_down, at_s: 1, lasts_s: 2, edge: 2}}]", "names edge 2"),
        (f"edges: {TWO}, incidents: [{{kind: edge_down, at_s: 1, lasts_s: 2, edge: c}}]", "names edge 'c'"),
        ("edges: [{host: a.example}, {host: a.example}]", "a.example:443 stands twice"),
        (f"edges: {TWO}, dns: {{srv: example.com}}", "both say where the edges are"),
    ],
)
def test_impossible_edges_are_told(written: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_study(f"pop: {{{written}}}\n" + TRAFFIC)
