from tests.fuzz.coverage_guided import find_properties

PROPERTY = "test_any_spec_is_refused_or_read_and_written_without_a_change"


def test_every_property_can_be_fuzzed_by_coverage() -> None:
    properties = find_properties()

    assert len(properties) >= 12
    # Too few bytes for an example: not a failure.
    assert properties[PROPERTY](b"") is None
