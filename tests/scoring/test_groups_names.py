"""Names of groups: of their members, and kept while enough of these stay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdguard.scoring.groups.names import LEAST_ALIKE, founding_names, kept_names

MEMBERS = st.frozensets(st.sampled_from([f"a{number}" for number in range(12)]), min_size=1)


def test_a_name_is_that_of_the_members_whatever_their_order_or_rank() -> None:
    first, second = founding_names([("b", "a"), ("c", "d")])
    assert founding_names([("d", "c"), ("a", "b")]) == [second, first]
    assert first != second
    assert founding_names([("ab", "c")]) != founding_names([("a", "bc")])


def test_a_name_stays_while_a_third_is_shared() -> None:
    old = {"c-1": [f"a{number}" for number in range(9)]}
    grown = [f"a{number}" for number in range(27)]
    assert kept_names([grown], old) == ["c-1"]
    assert kept_names([[*grown, "one more"]], old) == founding_names([[*grown, "one more"]])


def test_the_larger_part_of_a_group_that_splits_keeps_the_name() -> None:
    small, large = ["a", "b"], ["c", "d", "e"]
    assert kept_names([small, large], {"c-1": [*small, *large]}) == [founding_names([small])[0], "c-1"]


def test_a_group_that_is_founded_again_gets_another_name_while_the_first_has_it() -> None:
    founders = ["a", "b", "c"]
    (name,) = founding_names([founders])
    changed = ["b", "x", "y"]
    first, second = kept_names([changed, founders], {name: changed})
    assert first == name
    assert second not in (name, founding_names([changed])[0])


@given(
    groups=st.lists(MEMBERS, max_size=6, unique=True),
    before=st.dictionaries(st.text("cd", max_size=3), MEMBERS),
)
def test_names_are_unique_and_kept_only_by_those_alike(
    groups: list[frozenset[str]], before: dict[str, frozenset[str]]
) -> None:
    names = kept_names(groups, before)
    assert len(set(names)) == len(groups)
    for group, name in zip(groups, names, strict=True):
        if name in before:
            assert len(group & before[name]) >= LEAST_ALIKE * len(group | before[name]) - 1e-12
    assert set(kept_names(groups, dict(zip(names, groups, strict=True)))) == set(names)
